"""From stream entries to the scheduler's events. What cannot be understood is set aside."""

from __future__ import annotations

from functools import lru_cache

from parallax.broker.store.codec import Report, decode_report, decode_waiting, usage_of, whole
from parallax.broker.store.dispatch import Entry
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import ENDS, Told
from parallax.core.model import check_name
from parallax.scheduling.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptMoved,
    Event,
    JobArrived,
    JobWithdrawn,
    PrefillEnded,
)

Junk = tuple[Entry, str]

_WORDS = {word.value.encode(): word for word in Told}


def arrivals(
    tenant: str, entries: list[Entry]
) -> tuple[list[JobArrived], list[Junk], dict[str, int]]:
    """Decode the entries of a tenant's stream; junk comes back with the reason.

    The third are the jobs whose prefix is kept apart, and how many bytes it has.
    """
    events: list[JobArrived] = []
    junk: list[Junk] = []
    apart: dict[str, int] = {}
    for entry in entries:
        try:
            job, elsewhere = decode_waiting(entry.fields)
            if job.tenant != tenant:
                raise InvalidInput("tenant", job.tenant, f"this is the stream of {tenant}")  # noqa: TRY301
        except InvalidInput as error:
            junk.append((entry, str(error)))
        else:
            events.append(JobArrived(job, entry.id))
            if elsewhere:
                apart[job.id] = elsewhere
    return events, junk, apart


def reports(entry: Entry) -> tuple[list[tuple[Event, Report | None]], list[str]]:
    """Decode what workers told: each part by itself. Return that, and why other parts are junk."""
    fields = entry.fields
    told: list[tuple[Event, Report | None]] = []
    junk: list[str] = []
    if len(fields) % 2:
        junk.append(str(InvalidInput("event", fields[-1][:60], "pairs of job id and report")))
    for i in range(0, len(fields) - 1, 2):
        try:
            told.append(_report(_name("job id", fields[i]), fields[i + 1]))
        except InvalidInput as error:
            junk.append(str(error))
    return told, junk


def _report(job_id: str, text: bytes) -> tuple[Event, Report | None]:
    said, _, data = text.partition(b" ")
    word = _WORDS.get(said)
    if word is Told.WITHDRAWN:
        return JobWithdrawn(job_id), None
    if word is Told.STOLEN:
        return AttemptMoved(job_id, _name("thief", data)), None
    if word is Told.BEGAN:
        worker, _, attempt = data.partition(b" ")
        number = whole("attempt", attempt, 1_000_000)
        return AttemptBegan(job_id, _name("worker", worker), number), None
    reclaimed = word is Told.RECLAIMED  # its estimate stood when its worker was believed dead
    if reclaimed:
        said, _, data = data.partition(b" ")
        word = _WORDS.get(said)
    if word is Told.PREFILLED and not reclaimed:
        report = _signed(data)
        ended = PrefillEnded(job_id, report.worker, report.attempt, report.cached_tokens)
        return ended, None
    if word not in ENDS:
        raise InvalidInput("event", said[:60], f"known: {', '.join(Told)}")
    report = _signed(data)
    event = AttemptEnded(
        job_id,
        report.tenant,
        report.worker,
        report.attempt,
        report.estimate,
        ENDS[word],
        None if word is Told.LOST else usage_of(report),
    )
    return event, report


def _signed(data: bytes) -> Report:
    """Decode a report that accounts are settled by: it must say whose, and who made it."""
    report = decode_report(data)
    for field in ("tenant", "worker"):
        _check_familiar(f"report.{field}", getattr(report, field))
    return report


@lru_cache(maxsize=4096)
def _check_familiar(where: str, name: str) -> None:
    """Check a name that is told again and again, once."""
    check_name(where, name)


def _name(where: str, data: bytes) -> str:
    name = data.decode("ascii", "replace")
    check_name(where, name)
    return name
