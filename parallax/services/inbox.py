"""From stream entries to the scheduler's events. What cannot be understood is set aside."""

from __future__ import annotations

from msgspec import structs

from parallax.broker.codec import Report, decode_arrival, decode_report, usage_of, whole
from parallax.broker.dispatching import Entry
from parallax.broker.misfits import name_of
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
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

_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}


def arrivals(tenant: str, entries: list[Entry]) -> tuple[list[Event], list[Junk]]:
    """Decode the entries of a tenant's stream; junk comes back with the reason."""
    events: list[Event] = []
    junk: list[Junk] = []
    for entry in entries:
        try:
            job = decode_arrival(entry.fields)
            if job.tenant != tenant:
                raise InvalidInput("tenant", job.tenant, f"this is the stream of {tenant}")  # noqa: TRY301
        except InvalidInput as error:
            junk.append((entry, str(error)))
        else:
            events.append(JobArrived(job, entry.id))
    return events, junk


def reports(entry: Entry) -> tuple[list[tuple[Event, Report | None]], list[str]]:
    """Decode what workers told: each part by itself. Return that, and why other parts are junk."""
    fields = entry.fields
    told: list[tuple[Event, Report | None]] = []
    junk: list[str] = []
    if len(fields) % 2:
        junk.append(str(InvalidInput("event", fields[:1], "pairs of job id and report")))
    for i in range(0, len(fields) - 1, 2):
        try:
            told.append(_told(fields[i], fields[i + 1]))
        except InvalidInput as error:
            junk.append(str(error))
    return told, junk


def _told(job: bytes, text: bytes) -> tuple[Event, Report | None]:
    job_id = name_of(job)
    if not job_id:
        raise InvalidInput("event", job[:60], "a job id")
    word, _, data = text.partition(b" ")
    return _report(job_id, word, data)


def _report(job_id: str, word: bytes, data: bytes) -> tuple[Event, Report | None]:
    if word == b"withdrawn":
        return JobWithdrawn(job_id), None
    if word == b"stolen":
        return AttemptMoved(job_id, data.decode("ascii", "replace")), None
    if word == b"began":
        worker, _, attempt = data.partition(b" ")
        number = whole("attempt", attempt, 1_000_000)
        return AttemptBegan(job_id, worker.decode("ascii", "replace"), number), None
    if word == b"reclaimed":  # its charge was returned when its worker was believed dead
        word, _, data = data.partition(b" ")
        report = structs.replace(decode_report(data), estimate=0.0)
    else:
        report = decode_report(data)
    if word == b"prefilled":
        return PrefillEnded(job_id, report.worker, report.attempt), None
    event = AttemptEnded(
        job_id,
        report.tenant,
        report.worker,
        report.attempt,
        report.estimate,
        _OUTCOMES.get(word),
        usage_of(report),
    )
    return event, report
