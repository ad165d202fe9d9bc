"""Reads the ends of jobs: their records, and the streams that tell waiting clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from msgspec import Struct

from parallax.broker.link import dialogue
from parallax.broker.link.call import Commands, Reply
from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.link.refusals import is_forbidden
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import Report, decode_about, decode_report
from parallax.broker.store.dispatch import START, after
from parallax.broker.store.holding import decode_beside, decode_holding, seconds
from parallax.broker.store.keys import Keys
from parallax.broker.store.relay import Piece, decode_piece
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault
from parallax.core.lifecycle import TERMINAL, Outcome, State
from parallax.core.pages import pages
from parallax.core.trace import context_in


class Beside(Struct, frozen=True):
    """One of two attempts at a job: the later of the two is the hedge of the other."""

    worker: str
    attempt: int
    assigned: float | None
    over: bool


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
    hedge_worker: str = ""  # of the hedge, the attempt beside the one of `worker`
    trace: str = ""  # the context of the trace that it belongs to
    assigned: float | None = None  # when its last attempt was sent to `worker`
    beside: Beside | None = None  # the attempt that is or was beside that one

    # No length is negative, though the server's clock may have gone back meanwhile.

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""
        return Outcome(self.state.value) if self.state in TERMINAL else None

    @property
    def hedge(self) -> Beside | None:
        """The later of two attempts at once; None where there was one at a time."""
        if self.beside is None or self.beside.attempt > self.attempts:
            return self.beside
        return Beside(self.worker, self.attempts, self.assigned, False)

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


#: The fields read of a record (not its prefix, which may be long), and records per call.
_FIELDS, PAGE = ("at", "about", "deadline", "hedge", "result", "trace"), 500

#: Most jobs before one that are counted.
MOST_AHEAD = 100

#: Answers that are read in one go: each may have a megabyte.
ANSWERS = 20

_OUTCOMES = frozenset(outcome.value for outcome in Outcome)


class Notice(Struct, frozen=True):
    """Something told about a job: its outcome, and before that how it goes.

    That is `first` or `tokens`, `chunk` (a `piece` of its answer), or `answer` (all of it, just
    before its end; without `data` if it could not be kept for so long).
    """

    job_id: str
    word: str
    data: bytes
    apart: bool = False  # an answer with a key of its own, which goes once the answer was taken

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None if this is only progress."""
        return Outcome(self.word) if self.word in _OUTCOMES else None

    @property
    def report(self) -> Report:
        """The detail of the outcome."""
        return _report(self.data)

    @property
    def piece(self) -> Piece:
        """The piece of an answer that a `chunk` is; raises InvalidInput."""
        return decode_piece(self.data)


#: By stream: the cursor to read on from, and the messages.
News = dict[str, tuple[str, list[Notice]]]


class Results:
    """Reads records and follows `out` streams."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of these jobs; None where there is none (any more)."""
        return self._link.carry(records(self._keys, job_ids))

    def follow(
        self, reply: str, cursor: str, block_ms: int, *,
        forget: bool = False, taken: Sequence[str] = (),
    ) -> tuple[str, list[Notice]]:  # fmt: skip
        """Wait for news on an `out` stream after `cursor`; return the new cursor and the news.

        With `forget` entries read before are deleted on the way: for a reader that is the only one.
        It names the jobs whose answers, told `apart`, it has `taken`: they are deleted, too.
        """
        read = follow(self._keys, reply, cursor, block_ms, forget=forget, taken=taken)
        return self._link.carry(read)

    def follow_each(self, cursors: Mapping[str, str], block_ms: int) -> News:
        """Wait for news on any of these `out` streams after its cursor; return those that have."""
        return self._link.carry(follow_each(self._keys, cursors, block_ms))

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that were to be kept; None where there is none (any more)."""
        return self._link.carry(answers(self._keys, job_ids))

    def forget(self, reply: str, taken: Sequence[str] = ()) -> None:
        """Delete an `out` stream nobody will read again, and the answers `taken` from it.

        Who may not delete empties it.
        """
        self._link.carry(forget(self._keys, reply, taken))

    def counts(self) -> dict[str, int]:
        """Return the totals of the cell."""
        flat = iter(self._link.call("HGETALL", self._keys.counts))
        pairs = zip(flat, flat, strict=True)
        known = ((name.decode("ascii", "replace"), value) for name, value in pairs)
        return {name: int(value) for name, value in known if value.isdigit() and len(value) < 19}


# -- dialogues, for blocking and async links


def records(keys: Keys, job_ids: Sequence[str]) -> Dialogue[list[Record | None]]:
    """Return the records of these jobs; None where there is none (any more)."""
    found: list[Record | None] = []
    for page in pages(job_ids, PAGE):
        found += yield from dialogue.ask(records_asked(keys, page))
    return found


def answers(keys: Keys, job_ids: Sequence[str]) -> Dialogue[list[bytes | None]]:
    """Return the answers of jobs that were to be kept; None where there is none (any more)."""
    found: list[bytes | None] = []
    for page in pages(job_ids, ANSWERS):
        found += yield from dialogue.ask(answers_asked(keys, page))
    return found


def follow(
    keys: Keys, reply: str, cursor: str, block_ms: int, *,
    forget: bool = False, taken: Sequence[str] = (),
) -> Dialogue[tuple[str, list[Notice]]]:  # fmt: skip
    """Wait for news on an `out` stream after `cursor`; return the new cursor and the news.

    With `forget` entries read before are deleted on the way: for a reader that is the only one. It
    names the jobs whose answers, told `apart`, it has `taken`: they are deleted, too. A read never
    deletes the entries that it returns, for its reply may be lost, and then it is repeated.
    """
    if taken:
        with suppress(ParallaxError):  # they have a TTL, and a producer may not delete
            yield from dialogue.calls([("DEL", *map(keys.answer, taken))])
    forgotten = {reply: cursor} if forget and cursor else {}
    told = yield from follow_each(keys, {reply: cursor}, block_ms, forgotten)
    return told.get(reply, (cursor, []))


def follow_each(
    keys: Keys,
    cursors: Mapping[str, str],
    block_ms: int,
    forgotten: Mapping[str, str] | None = None,
) -> Dialogue[News]:
    """Wait for news on any of these `out` streams after its cursor; return those that have."""
    news = yield from dialogue.ask(news_asked(keys, cursors, block_ms, forgotten))
    found: News = {}
    for reply, (cursor, notices) in news.items():
        found[reply] = cursor, (yield from _with_answers(keys, notices))
    return found


def _with_answers(keys: Keys, notices: list[Notice]) -> Dialogue[list[Notice]]:
    """Fetch the answers that were too long for the stream."""
    apart = [n for n, notice in enumerate(notices) if notice.word == "answer_at"]
    for some in pages(apart, ANSWERS):
        found = yield from dialogue.ask(answers_asked(keys, [notices[n].job_id for n in some]))
        for n, answer in zip(some, found, strict=True):
            told = notices[n]
            notices[n] = Notice(told.job_id, "answer", answer or b"", apart=not _kept(told))
    return notices


# -- operations as values


def records_asked(keys: Keys, job_ids: Sequence[str]) -> Commands[list[Record | None]]:
    """Build what reads the records of jobs, of at most `PAGE` of them; None: there is none."""
    commands = [("HMGET", keys.job(job), *_FIELDS) for job in job_ids]
    return Commands(commands, partial(_records, job_ids))


def _records(job_ids: Sequence[str], replies: Sequence[Reply]) -> list[Record | None]:
    return [_record(job, row) for job, row in zip(job_ids, replies, strict=True)]


def answers_asked(keys: Keys, job_ids: Sequence[str]) -> Commands[list[bytes | None]]:
    """Build what reads the answers of at most `ANSWERS` jobs."""
    return Commands([("GET", keys.answer(job)) for job in job_ids], list)


def queue_place_asked(keys: Keys, record: Record) -> Commands[tuple[int, bool]]:
    """Build what counts the jobs of a tenant that wait and came no later than a queued one.

    That is its place, from 1, if they are served as they came; of more than `MOST_AHEAD` it is only
    said that there are more (False).
    """
    until = round(record.accepted * 1000)
    arrivals = keys.arrivals(record.tenant)
    return Commands([("XRANGE", arrivals, "-", until, "COUNT", MOST_AHEAD + 1)], _queue_place)


def _queue_place(replies: Sequence[Reply]) -> tuple[int, bool]:
    count = len(replies[0] or ())
    return max(1, min(count, MOST_AHEAD)), count <= MOST_AHEAD


def news_asked(
    keys: Keys,
    cursors: Mapping[str, str],
    block_ms: int,
    forgotten: Mapping[str, str] | None = None,
) -> Commands[News]:
    """Build what waits for news on any of these `out` streams, each after its cursor.

    Entries up to the `forgotten` cursors were read before and are deleted on the way. An answer
    that is kept apart is told as `answer_at`: the reader fetches it.
    """
    names = {keys.out(reply).encode(): reply for reply in cursors}
    command: list[Argument] = ["XREAD", "COUNT", 1000]
    if block_ms > 0:
        command += ("BLOCK", min(block_ms, MAX_BLOCK_MS))
    command += ("STREAMS", *names, *(cursor or START for cursor in cursors.values()))
    trims: list[Sequence[Argument]] = [
        ("XTRIM", keys.out(reply), "MINID", after(cursor))
        for reply, cursor in (forgotten or {}).items()
    ]
    return Commands([*trims, command], partial(_news, names))


def _news(names: Mapping[bytes, str], replies: Sequence[Reply]) -> News:
    found: News = {}
    for name, entries in replies[-1] or ():
        notices = [notice for _, fields in entries for notice in _notices(fields or ())]
        found[names[name]] = entries[-1][0].decode(), notices
    return found


def _kept(notice: Notice) -> bool:
    """Whether an answer that lies apart is to stay there."""
    return bool(notice.data.endswith(b"k"))


def forget(keys: Keys, reply: str, taken: Sequence[str] = ()) -> Dialogue[None]:
    """Delete an `out` stream nobody will read again, and the answers `taken` from it.

    Who may not delete empties it.
    """
    stream = keys.out(reply)
    try:
        yield from dialogue.calls([("DEL", stream, *map(keys.answer, taken))])
    except StoreFault as error:
        if not is_forbidden(error):
            raise
        yield from dialogue.calls([("XTRIM", stream, "MAXLEN", 0)])  # it has a TTL


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
        at = decode_holding(raw["at"])
        if at is None:
            return None
        hedge, over = decode_beside(raw.get("hedge"))
        return Record(
            job_id,
            spec.tenant,
            at.state,
            at.attempt,
            about.accepted,
            spec.prompt,
            spec.max,
            spec.session,
            at.worker,
            about.reply,
            seconds(raw.get("deadline")),
            at.started,
            at.finished,
            report,
            hedge.worker if hedge and not over else "",
            context_in((raw.get("trace") or b"").decode("ascii", "replace")),
            _after(at.assigned, about.accepted),
            Beside(hedge.worker, hedge.attempt, _after(hedge.assigned, about.accepted), over)
            if hedge
            else None,
        )
    except (KeyError, ValueError, InvalidInput):
        return None


def _after(at: float | None, accepted: float) -> float | None:
    return None if at is None else max(at, accepted)


def _report(result: bytes | None) -> Report:
    """Return what became of a job; one field that cannot be read does not hide the others."""
    try:
        return decode_report(result) if result else Report()
    except InvalidInput as error:
        return Report(error=f"its result cannot be understood: {error}")
