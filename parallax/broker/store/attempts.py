"""The worker's side of the streams: beginning assigned attempts, relaying and finishing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from parallax.broker.link import dialogue
from parallax.broker.link.call import Call
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.link.errors import Spoilt
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Answer, Lexicon
from parallax.broker.store.codec import Report, decode_about, decode_fields, encode, whole
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.holding import decode_holding, signature_of
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.misfits import quarantine_call
from parallax.broker.store.relay import Chunk, pages_of, relay_call
from parallax.core.bisection import each_asked
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, NAME
from parallax.core.reasons import Reason
from parallax.core.words import Begun, Done, Finished, Relayed, Verdict

#: Stands for the tenant of a job whose record does not tell it.
NOBODY = "unknown"

_BEGUN, _FINISHED, _DONE = Lexicon(Begun), Lexicon(Finished), Lexicon(Done)


class Look(Struct, frozen=True):
    """The answer of `begin` for an attempt: a word, the job's `about`, its start, and its body."""

    word: Begun
    about: bytes
    began: bytes
    body: bytes


class Prefilled(Struct, frozen=True):
    """The prefill of a job: its worker, its cached tokens, and the time of the first token."""

    worker: str
    cached_tokens: int
    first_s: float  # after acceptance


class Assignment(Struct, frozen=True):
    """An attempt as it lies in the worker's stream."""

    entry: str
    job_id: str
    attempt: str
    estimate: float
    epoch: int = 0  # of the leader that sent it
    prefilled: Prefilled | None = None

    def signature(self, worker: str) -> str:
        """Return what the job's record says while this assignment is the job's own."""
        return signature_of(worker, self.attempt, self.entry)


class Attempt(Struct, frozen=True):
    """A begun attempt: the engine's input, and the reader that is told of its end."""

    assignment: Assignment
    tenant: str
    session: str
    prompt_tokens: int
    max_tokens: int
    output_tokens: int | None
    reply: str
    waited_s: float
    body_bytes: int = 0
    body: bytes = b""
    prefix: tuple[int, ...] = ()
    prefix_block: int = 16
    stream: bool = False  # the answer is relayed in pieces
    keep: bool = False  # the answer is kept for a while
    model: str = ""
    trace: str = ""  # the context of the trace that it is a part of

    @property
    def job_id(self) -> str:
        """The job this is an attempt at."""
        return self.assignment.job_id


class Finish(Struct, frozen=True):
    """The end of an attempt: a `Verdict`, or one with figures, and the answer if it completed."""

    attempt: Attempt
    verdict: str
    report: Report
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """An order to stop an attempt, running or not."""

    job_id: str
    attempt: str


class Attempts:
    """A worker's operations on its attempts: begin them, relay their answers, finish them.

    All operations are dialogues, which a blocking or an async link carries.
    """

    def __init__(self, keys: Keys, worker: str, limits: Limits | None = None) -> None:
        self._keys = keys
        self._worker = worker
        self._limits = limits or Limits()

    def begin(
        self, assignments: Sequence[Assignment], with_bodies: bool = False
    ) -> Dialogue[tuple[list[Attempt], list[Attempt], list[Attempt]]]:
        """Take the last look before running; return attempts to run, those that expired, and those
        whose job cannot be understood, and so cannot run here or anywhere.

        Attempts that are no longer wanted are dropped by the script and not returned.
        """
        if not assignments:
            return [], [], []
        found = yield from each_asked(
            assignments, lambda some: self._looked(some, with_bodies), Spoilt
        )
        running: list[Attempt] = []
        expired: list[Attempt] = []
        spoilt: list[Attempt] = []
        lists = {Begun.RUN: running, Begun.EXPIRED: expired}
        for assignment, look in zip(assignments, found, strict=True):
            if isinstance(look, Spoilt):
                spoilt.append(_unknown(assignment))
            elif look.word is not Begun.SKIP:
                attempt = _attempt(assignment, look)
                if attempt is None:
                    spoilt.append(_unknown(assignment))
                else:
                    lists[look.word].append(attempt)
        return running, expired, spoilt

    def _looked(self, assignments: Sequence[Assignment], with_bodies: bool) -> Dialogue[list[Look]]:
        call = begin_call(self._keys, self._limits, self._worker, assignments, with_bodies)
        return dialogue.do(call)

    def without_use(self, attempts: Sequence[Attempt]) -> Dialogue[list[Attempt]]:
        """Return those whose jobs have ended, or have no record any more."""
        if not attempts:
            return []
        asked = [("HGET", self._keys.job(a.job_id), "at") for a in attempts]
        places = yield from dialogue.calls(asked)
        return [a for a, at in zip(attempts, places, strict=True) if _is_over(at)]

    def finish(self, finishes: Sequence[Finish]) -> Dialogue[list[Answer[Finished]]]:
        """Write the ends of attempts; return (word, detail) for each. Safe to repeat.

        An end that the store stumbles over is given up, and none beside it: its entry goes to the
        dead letters, and the janitor finds the job.
        """
        if not finishes:
            return []
        told: list[Answer[Finished]] = []
        answers = yield from each_asked(finishes, self._finish, Spoilt)
        for finish, answer in zip(finishes, answers, strict=True):
            if isinstance(answer, Spoilt):
                yield from self._give_up(finish, answer)
                told.append((Finished.UNKNOWN, ""))
            else:
                told.append(answer)
        return told

    def _give_up(self, finish: Finish, error: Spoilt) -> Dialogue[None]:
        assignment = finish.attempt.assignment
        entry = Entry(assignment.entry, [assignment.job_id.encode()])
        yield from self.quarantine([(entry, f"its end cannot be written: {error}")])

    def _finish(self, finishes: Sequence[Finish]) -> Dialogue[list[Answer[Finished]]]:
        return dialogue.do(finish_call(self._keys, self._limits, self._worker, finishes))

    def quarantine(self, junk: Sequence[tuple[Entry, str]]) -> Dialogue[int]:
        """Move entries of the worker's stream to the dead letters; return how many."""
        keys = self._keys
        return dialogue.do(quarantine_call(keys, self._limits, keys.work(self._worker), junk))

    def relay(self, chunks: Sequence[Chunk]) -> Dialogue[list[Relayed]]:
        """Send chunks of answers to the waiting clients; return `ok` or `stop` for each.

        Those of an attempt go in order, before its end, and before what follows them is sent: of an
        attempt that was told to `stop` nothing is sent any more. Safe to repeat. The scheduler is
        told that an attempt began by its first piece.
        """
        words: list[Relayed] = []
        for some in pages_of(chunks):
            call = relay_call(self._keys, self._limits, self._worker, some)
            words += yield from dialogue.do(call)
        return words

    def progress(
        self, updates: Sequence[tuple[Attempt, str, int]], began: Sequence[Attempt] = ()
    ) -> Dialogue[None]:
        """Tell those who watch a job of its own: (attempt, `first` or `tokens`, tokens so far).

        The scheduler is told which attempts `began`: had their first token and go on.
        """
        watched = [u for u in updates if u[0].reply == u[0].job_id]
        if not watched and not began:
            return
        call = progress_call(self._keys, self._limits, self._worker, watched, began)
        yield from dialogue.do(call)


def begin_call(
    keys: Keys,
    limits: Limits,
    worker: str,
    assignments: Sequence[Assignment],
    with_bodies: bool = False,
) -> Call[list[Look]]:
    """Build the last look at attempts before they run."""
    names = [keys.work(worker), keys.events, *(keys.job(a.job_id) for a in assignments)]
    args: list[Argument] = [worker, limits.log_entries, len(assignments), int(with_bodies)]
    for a in assignments:
        args += (a.entry, a.signature(worker))
    if with_bodies:
        names += [keys.body(a.job_id) for a in assignments]
    return Call(script("begin"), names, args, partial(_looks, len(assignments)))


def _looks(count: int, reply: Sequence[bytes]) -> list[Look]:
    bodies = reply[3 * count :] or [b""] * count
    rows = iter(reply[: 3 * count])
    return [
        Look(_BEGUN[word], about, began, body)
        for word, about, began, body in zip(rows, rows, rows, bodies, strict=True)
    ]


def finish_call(
    keys: Keys, limits: Limits, worker: str, finishes: Sequence[Finish]
) -> Call[list[Answer[Finished]]]:
    """Build what writes the ends of attempts."""
    tenants: dict[str, int] = {}
    outs: dict[str, int] = {}
    rows: list[Argument] = []
    for f in finishes:
        attempt = f.attempt
        reply = attempt.reply
        rows += (
            attempt.job_id,
            attempt.assignment.entry,
            attempt.assignment.attempt,
            f.verdict,
            encode(f.report),
            tenants.setdefault(attempt.tenant, len(tenants) + 1),
            outs.setdefault(reply, len(outs) + 1) if reply else "",
        )
    # A record that cannot be decoded does not tell whether it has a body.
    with_bodies = any(f.attempt.body_bytes or f.verdict == Verdict.DEAD for f in finishes)
    bodies = [keys.body(f.attempt.job_id) for f in finishes] if with_bodies else []
    payloads: list[Argument] = []
    if any(f.answer or f.attempt.stream for f in finishes):
        payloads += [part for f in finishes for part in _payload(f)]
    answers = [keys.answer(f.attempt.job_id) for f in finishes] if payloads else []
    names = [
        keys.work(worker), keys.events, keys.open, keys.counts, keys.dead, keys.active, keys.bell,
        keys.due, *map(keys.arrivals, tenants), *map(keys.out, outs),
        *(keys.job(f.attempt.job_id) for f in finishes), *bodies, *answers,
    ]  # fmt: skip
    head: list[Argument] = [
        worker, limits.record_ttl_ms, limits.out_ttl_ms, limits.out_entries, limits.log_entries,
        len(tenants), len(outs), len(finishes), int(with_bodies), int(bool(payloads)),
        int(any(f.attempt.prefix for f in finishes)), *tenants,
    ]  # fmt: skip
    return Call(script("finish"), names, head + rows + payloads, _FINISHED.answers)


def progress_call(
    keys: Keys,
    limits: Limits,
    worker: str,
    watched: Sequence[tuple[Attempt, str, int]],
    began: Sequence[Attempt],
) -> Call[Done]:
    """Build what tells of first tokens, and of tokens to those who watch."""
    args: list[Argument] = [
        worker, limits.log_entries, limits.out_ttl_ms, limits.out_entries, len(watched), len(began)
    ]  # fmt: skip
    for attempt, kind, tokens in watched:
        args += (attempt.job_id, attempt.assignment.attempt, kind, tokens)
    for attempt in began:
        args += (attempt.job_id, attempt.assignment.attempt)
    names = [keys.events, *(keys.out(attempt.reply) for attempt, _, _ in watched)]
    return Call(script("progress"), names, args, _DONE.first)


def decode_assignment(entry: Entry) -> Assignment:
    """Decode an entry of a worker's stream; raises InvalidInput."""
    handed_over = len(entry.fields) == 2 and entry.fields[1].count(b" ") == 6
    meaning = "id, attempt, estimated cost, epoch"
    if handed_over:
        meaning += ", and who computed the prompt, cached tokens, seconds to the first token"
    parts = decode_fields(entry.fields, 7 if handed_over else 4, meaning)
    attempt = str(whole("attempt", parts[1], 1_000_000))
    epoch = whole("epoch", parts[3], 2**53)
    try:
        job_id, estimate = parts[0].decode("ascii"), float(parts[2])
        prefilled = None
        if handed_over:
            prefilled = Prefilled(parts[4].decode("ascii"), int(parts[5]), float(parts[6]))
    except ValueError:
        raise InvalidInput("entry", entry.fields[1][:60], meaning) from None
    if not NAME.fullmatch(job_id) or not 0 <= estimate <= 1e12:
        raise InvalidInput("entry", entry.fields[1][:60], meaning)
    if prefilled and not _plausible(prefilled):
        raise InvalidInput("entry", entry.fields[1][:60], meaning)
    return Assignment(entry.id, job_id, attempt, estimate, epoch, prefilled)


def _plausible(prefilled: Prefilled) -> bool:
    return (
        NAME.fullmatch(prefilled.worker) is not None
        and 0 <= prefilled.cached_tokens <= MAX_TOKENS
        and 0 <= prefilled.first_s <= 1e9
    )


def _is_over(at: bytes | None) -> bool:
    """Whether a record says that its job has ended; one that cannot be read says nothing."""
    holding = decode_holding(at)
    return at is None or (holding is not None and holding.is_over)


def decode_cancellation(entry: Entry) -> Cancellation | None:
    """Decode an order; anything but a cancellation is ignored."""
    fields = entry.fields
    if len(fields) != 4 or fields[0] != b"cancel" or fields[2] != b"attempt":
        return None
    return Cancellation(fields[1].decode("ascii", "replace"), fields[3].decode("ascii", "replace"))


def is_drain(entry: Entry) -> bool:
    """Whether an order tells the worker to end what runs, give back the rest, and leave."""
    return entry.fields[:1] == [b"drain"]


def _attempt(assignment: Assignment, look: Look) -> Attempt | None:
    """Return the begun attempt; None if it cannot be decoded."""
    try:
        about = decode_about(look.about)
        waited_s = max(0.0, int(look.began) / 1000 - about.accepted)
    except (InvalidInput, ValueError):
        return None
    spec = about.spec
    return Attempt(
        assignment,
        spec.tenant,
        spec.session,
        spec.prompt,
        spec.max,
        about.output_tokens,
        about.reply,
        waited_s,
        about.body_bytes,
        look.body,
        spec.prefix,
        spec.prefix_block,
        about.streams,
        about.kept,
        spec.model,
        about.trace,
    )


def _unknown(assignment: Assignment) -> Attempt:
    return Attempt(assignment, NOBODY, "", 0, 1, None, "", 0.0)


def _payload(finish: Finish) -> tuple[str, bytes, bytes]:
    """Return the job's letters, the answer, and the result of a job whose answer breaks off."""
    attempt, broken = finish.attempt, b""
    if attempt.stream:
        said = finish.report.error or "its worker gave it back"
        error = f"{said}, after a part of the answer was sent"
        broken = encode(replace(finish.report, error=error, reason=Reason.STREAM_BROKEN))
    return "s" * attempt.stream + "k" * attempt.keep, finish.answer, broken
