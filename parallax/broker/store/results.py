"""Reading what became of jobs: their records, and the streams that tell who waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from msgspec import Struct

from parallax.broker.link import dialogue
from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Command, Dialogue
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.link.refusals import is_forbidden
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import Report, decode_about, decode_report
from parallax.broker.store.dispatch import START, after
from parallax.broker.store.keys import Keys
from parallax.broker.store.relay import Piece, decode_piece
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault
from parallax.core.lifecycle import TERMINAL, Outcome, State
from parallax.core.pages import pages


@dataclass(frozen=True, slots=True)
class Record:
    """A job's record. Times are seconds since the epoch; None = has not happened."""

    job_id: str
    tenant: str
    state: State
    attempts: int
    accepted: float
    prompt_tokens: int
    max_tokens: int
    session: str
    worker: str
    reply: str
    deadline: float | None
    started: float | None
    finished: float | None
    report: Report
    rival: str = ""  # the worker of the attempt beside the one of `worker`

    # No length is negative, though the server's clock may have gone back meanwhile.

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""
        return Outcome(self.state.value) if self.state in TERMINAL else None

    @property
    def queue_wait_s(self) -> float | None:
        """Seconds from acceptance to when the last attempt joined its engine's batch."""
        if self.report.wait_s is not None:
            return self.report.wait_s
        return None if self.started is None else max(0.0, self.started - self.accepted)

    @property
    def ttft_s(self) -> float | None:
        """Seconds from acceptance to the first token."""
        return self.report.ttft_after(self.queue_wait_s)

    @property
    def e2e_s(self) -> float | None:
        """Seconds from acceptance to the end."""
        return None if self.finished is None else max(0.0, self.finished - self.accepted)


#: Holders of a job that are not workers.
NOBODY = frozenset({"queue", "system"})

#: What is read of a record (not its prefix, which may be long), and of how many in one go.
_FIELDS, _PAGE = ("at", "about", "deadline", "hedge", "result"), 500

#: Answers that are read in one go: each may have a megabyte.
_ANSWERS = 20

_OUTCOMES = frozenset(outcome.value for outcome in Outcome)


class Notice(Struct, frozen=True):
    """Something told about a job: its outcome, and before that how it goes.

    That is `first` or `tokens`, `chunk` (a `piece` of its answer), or `answer` (all of it, just
    before its end; without `data` if it could not be kept for so long).
    """

    job_id: str
    word: str
    data: bytes

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None if this is only progress."""
        return Outcome(self.word) if self.word in _OUTCOMES else None

    @property
    def report(self) -> Report:
        """What came with the outcome."""
        return _report(self.data)

    @property
    def piece(self) -> Piece:
        """The piece of an answer that a `chunk` is; raises InvalidInput."""
        return decode_piece(self.data)


class Results:
    """Reads records and follows `out` streams."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of these jobs; None where there is none (any more)."""
        return self._link.carry(records(self._keys, job_ids))

    def follow(
        self, reply: str, cursor: str, block_ms: int, *, forget: bool = False
    ) -> tuple[str, list[Notice]]:
        """Wait for news on an `out` stream after `cursor`; return the new cursor and the news.

        With `forget` what was read before is deleted on the way: for a reader that is the only one.
        """
        return self._link.carry(follow(self._keys, reply, cursor, block_ms, forget=forget))

    def follow_each(
        self, cursors: Mapping[str, str], block_ms: int
    ) -> dict[str, tuple[str, list[Notice]]]:
        """Wait for news on any of these `out` streams after its cursor; return those that have."""
        return self._link.carry(follow_each(self._keys, cursors, block_ms))

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that were to be kept; None where there is none (any more)."""
        return self._link.carry(answers(self._keys, job_ids))

    def forget(self, reply: str) -> None:
        """Delete an `out` stream nobody will read again; who may not delete empties it."""
        self._link.carry(forget(self._keys, reply))

    def counts(self) -> dict[str, int]:
        """Return the totals of the cell."""
        flat = iter(self._link.call("HGETALL", self._keys.counts))
        pairs = zip(flat, flat, strict=True)
        known = ((name.decode("ascii", "replace"), value) for name, value in pairs)
        return {name: int(value) for name, value in known if value.isdigit() and len(value) < 19}


# -- the same as dialogues, for whoever waits or awaits


def records(keys: Keys, job_ids: Sequence[str]) -> Dialogue[list[Record | None]]:
    """Return the records of these jobs; None where there is none (any more)."""
    found: list[Record | None] = []
    for page in pages(job_ids, _PAGE):
        rows = yield from dialogue.calls([("HMGET", keys.job(job), *_FIELDS) for job in page])
        found += [_record(job, row) for job, row in zip(page, rows, strict=True)]
    return found


def answers(keys: Keys, job_ids: Sequence[str]) -> Dialogue[list[bytes | None]]:
    """Return the answers of jobs that were to be kept; None where there is none (any more)."""
    found: list[bytes | None] = []
    for page in pages(job_ids, _ANSWERS):
        found += yield from dialogue.calls([("GET", keys.answer(job)) for job in page])
    return found


def follow(
    keys: Keys, reply: str, cursor: str, block_ms: int, *, forget: bool = False
) -> Dialogue[tuple[str, list[Notice]]]:
    """Wait for news on an `out` stream after `cursor`; return the new cursor and the news.

    With `forget` what was read before is deleted on the way: for a reader that is the only one.
    """
    before: list[Command] = []
    if forget and cursor:
        before.append(("XTRIM", keys.out(reply), "MINID", after(cursor)))
    told = yield from follow_each(keys, {reply: cursor}, block_ms, before)
    return told.get(reply, (cursor, []))


def follow_each(
    keys: Keys, cursors: Mapping[str, str], block_ms: int, before: Sequence[Command] = ()
) -> Dialogue[dict[str, tuple[str, list[Notice]]]]:
    """Wait for news on any of these `out` streams after its cursor; return those that have."""
    names = {keys.out(reply).encode(): reply for reply in cursors}
    command: list[Argument] = ["XREAD", "COUNT", 1000]
    if block_ms > 0:
        command += ("BLOCK", min(block_ms, MAX_BLOCK_MS))
    command += ("STREAMS", *names, *(cursor or START for cursor in cursors.values()))
    *_, streams = yield from dialogue.calls([*before, command])
    found: dict[str, tuple[str, list[Notice]]] = {}
    for name, entries in streams or ():
        notices = [notice for _, fields in entries for notice in _notices(fields or ())]
        found[names[name]] = entries[-1][0].decode(), (yield from _with_answers(keys, notices))
    return found


def _with_answers(keys: Keys, notices: list[Notice]) -> Dialogue[list[Notice]]:
    """Fetch the answers that were too long for the stream; delete those that nobody keeps."""
    apart = [n for n, notice in enumerate(notices) if notice.word == "answer_at"]
    for some in pages(apart, _ANSWERS):
        names = [keys.answer(notices[n].job_id) for n in some]
        found = yield from dialogue.calls([("GET", name) for name in names])
        own = [name for n, name in zip(some, names, strict=True) if not _kept(notices[n])]
        for n, answer in zip(some, found, strict=True):
            notices[n] = Notice(notices[n].job_id, "answer", answer or b"")
        if own:
            with suppress(ParallaxError):  # they have a TTL, and were read
                yield from dialogue.call(("DEL", *own))
    return notices


def _kept(notice: Notice) -> bool:
    """Whether an answer that lies apart is to stay there."""
    return bool(notice.data.endswith(b"k"))


def forget(keys: Keys, reply: str) -> Dialogue[None]:
    """Delete an `out` stream nobody will read again; who may not delete empties it."""
    stream = keys.out(reply)
    try:
        yield from dialogue.call(("DEL", stream))
    except StoreFault as error:
        if not is_forbidden(error):
            raise
        yield from dialogue.call(("XTRIM", stream, "MAXLEN", 0))  # it has a TTL


def _notices(fields: Sequence[bytes]) -> Iterator[Notice]:
    pairs = iter(fields)
    for job, text in zip(pairs, pairs, strict=False):
        word, _, data = text.partition(b" ")
        yield Notice(job.decode("ascii", "replace"), word.decode("ascii", "replace"), data)


def _record(job_id: str, row: Iterable[bytes | None]) -> Record | None:
    raw = {name: value for name, value in zip(_FIELDS, row, strict=True) if value is not None}
    try:
        about = decode_about(raw["about"])
        spec, result = about.spec, raw.get("result")
        report = _report(result)
        at = raw["at"].decode("ascii") + "    "
        state, holder, started, finished, *_ = at.split(" ")
        who, attempt, _ = (holder + "//").split("/", 2)
        return Record(
            job_id,
            spec.tenant,
            State(state),
            int(attempt or 0),
            about.accepted,
            spec.prompt,
            spec.max,
            spec.session,
            who if who not in NOBODY else "",
            about.reply,
            _seconds(raw.get("deadline")),
            _seconds(started),
            _seconds(finished),
            report,
            _rival(raw.get("hedge", b"")),
        )
    except (KeyError, ValueError, InvalidInput):
        return None


def _rival(hedge: bytes) -> str:
    """Return the worker of the second attempt, if that is alive."""
    state, _, holder = hedge.decode("ascii", "replace").partition(" ")
    return "" if state in {"", "over"} else holder.partition("/")[0]


def _report(result: bytes | None) -> Report:
    """Return what became of a job; one field that cannot be read does not hide the others."""
    try:
        return decode_report(result) if result else Report()
    except InvalidInput as error:
        return Report(error=f"its result cannot be understood: {error}")


def _seconds(ms: bytes | str | None) -> float | None:
    """Return a time of a record; None for one that it has not, or that is no number."""
    return (int(ms) / 1000 or None) if ms and ms.isdigit() and len(ms) < 17 else None
