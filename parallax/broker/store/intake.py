"""The door: submitting jobs, and ending those that no worker is finishing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from msgspec import Struct

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Answer, Lexicon, led
from parallax.broker.store.codec import Report, encode
from parallax.broker.store.confirming import Replicated, submitted
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.specs import parts_of, ticket_of
from parallax.core.errors import (
    Conflict,
    InvalidInput,
    ParallaxError,
    Refused,
    StoreFault,
    StoreFull,
    Unreachable,
)
from parallax.core.lifecycle import Outcome
from parallax.core.model import USUAL_ATTEMPTS, Job
from parallax.core.pages import pages
from parallax.core.reasons import Reason
from parallax.core.words import Submitted, Terminated

_REFUSED_RETRY_S = 1.0
NOTHING = Report()

#: Most jobs that are ended in one call: a thousand would stop the server for some 30 ms.
MOST_ENDINGS = 250

_SUBMITTED, _TERMINATED = Lexicon(Submitted), Lexicon(Terminated)


class Unasked(StrEnum):
    """Why the door of a job's cell could not be asked."""

    UNKNOWN = "unknown"  # nobody answered: it may or may not be accepted, and may be sent again
    STORE_FULL = "store_full"
    FAULT = "fault"


_FAILED: dict[Submitted | Unasked, type[ParallaxError]] = {
    Unasked.UNKNOWN: Unreachable, Unasked.STORE_FULL: StoreFull, Unasked.FAULT: StoreFault,
}  # fmt: skip
_ACCEPTED = frozenset({Submitted.OK, Submitted.DUP})


class Receipt(Struct, frozen=True):
    """The answer of admission for one submitted job.

    `detail` is the entry's id, the state of the known job, or the number at fault; where one of
    several cells could not be asked, it says why.
    """

    job_id: str
    word: Submitted | Unasked
    detail: str
    confirmed: bool | None = None  # held by replicas, too; None: nobody asked (`confirming.py`)

    @property
    def accepted(self) -> bool:
        """Whether the job is in the system: now, or because it was submitted before."""
        return self.word in _ACCEPTED

    @classmethod
    def failed(cls, job_id: str, error: ParallaxError) -> Receipt:
        """Return the receipt of a job whose cell could not be asked."""
        words = (word for word, kind in _FAILED.items() if isinstance(error, kind))
        return cls(job_id, next(words, Unasked.FAULT), str(error))

    def error(self) -> ParallaxError | None:
        """Return why the job was not accepted, as an exception to raise."""
        if self.accepted:
            return None
        if self.word is Submitted.CONFLICT:
            return Conflict(f"job {self.job_id} exists with another content ({self.detail})")
        if self.word is Submitted.TOO_BIG:
            return InvalidInput("job", f"{self.detail} bytes", "smaller than the store's limit")
        if self.word is Submitted.FULL:
            if self.detail == "0":  # it would be one tenant more than may have jobs
                said, reason = Reason.TENANTS_FULL.sentence, Reason.TENANTS_FULL
                return Refused(said, _REFUSED_RETRY_S, reason)
            return Refused(f"{self.detail} jobs wait in the tenant's queue", _REFUSED_RETRY_S)
        if self.word in _FAILED:
            return _FAILED[self.word](f"job {self.job_id}: {self.detail}")
        return StoreFault(f"job {self.job_id}: {self.word}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Ending:
    """A job to end without a worker: how, why, and its believed holder.

    `hedge_worker` is the worker of its hedge, the attempt beside the one of `worker`, if there is
    one; `entry` is where in its tenant's stream the caller saw it wait.
    """

    job_id: str
    tenant: str
    outcome: Outcome
    report: Report = NOTHING
    worker: str = ""
    reply: str = ""
    hedge_worker: str = ""
    entry: str = ""


class Intake:
    """Submits and terminates, in batches: one round trip each, whatever their size."""

    def __init__(
        self, link: Link, keys: Keys, limits: Limits | None = None, shared_prefixes: bool = True,
        replicated: Replicated | None = None,
    ) -> None:  # fmt: skip
        self._replicated = replicated
        # `shared_prefixes`: equal names of blocks mean the same for all tenants.
        self._shared = shared_prefixes
        self._link = link
        self._keys = keys
        self._limits = limits or Limits()

    def submit(
        self, jobs: Sequence[Job], reply: str | None = "", bodies: Mapping[str, bytes] | None = None
    ) -> list[Receipt]:
        """Offer jobs; return a receipt for each, in order.

        `reply` names the `out` stream that is told how the jobs end ('' = nobody waits, None = each
        job has a stream of its own, named by its id). Safe to repeat after `Unreachable`.
        """
        if not jobs:
            return []
        call = submit_call(self._keys, self._limits, jobs, reply, bodies or {}, self._shared)
        if self._replicated is None:
            return self._link.do(call)
        return self._link.carry(submitted(call, self._keys, self._replicated))

    def terminate(self, endings: Sequence[Ending], token: str = "") -> list[Answer[Terminated]]:
        """End jobs; return (word, detail) for each: see `lua/terminate.lua`.

        With a token only the leader may do it: raises Fenced for anybody else.
        """
        answers: list[Answer[Terminated]] = []
        for some in pages(endings, MOST_ENDINGS):
            answers += self._link.do(terminate_call(self._keys, self._limits, some, token))
        return answers


def submit_call(
    keys: Keys,
    limits: Limits,
    jobs: Sequence[Job],
    reply: str | None,
    bodies: Mapping[str, bytes],
    shared_prefixes: bool = True,
) -> Call[list[Receipt]]:
    """Build what offers jobs (see `Intake.submit`); there must be one at least."""
    tenants: dict[str, int] = {}
    args: list[Argument] = []
    for job in jobs:
        spec, prefix = parts_of(job, shared_prefixes)
        args += (
            job.id,
            tenants.setdefault(job.tenant, len(tenants) + 1),
            spec,
            ticket_of(job, bodies.get(job.id, b""), job.id if reply is None else reply),
            _options(job, prefix),
        )
    names = [
        keys.active, keys.bell, keys.open, keys.counts, keys.due,
        *map(keys.arrivals, tenants), *(keys.job(job.id) for job in jobs),
    ]  # fmt: skip
    if bodies:
        names += [keys.body(job.id) for job in jobs]
        args += [bodies.get(job.id, b"") for job in jobs]
    head: list[Argument] = [
        len(tenants), len(jobs), limits.max_depth, limits.max_bytes, limits.max_active,
        int(bool(bodies)), *tenants,
    ]  # fmt: skip
    return Call(script("submit"), names, head + args, partial(_receipts, jobs))


def _receipts(jobs: Sequence[Job], reply: Sequence[bytes]) -> list[Receipt]:
    words = iter(reply)
    return [
        Receipt(job.id, _SUBMITTED[word], detail.decode())
        for job, word, detail in zip(jobs, words, words, strict=True)
    ]


def terminate_call(
    keys: Keys, limits: Limits, endings: Sequence[Ending], token: str = ""
) -> Call[list[Answer[Terminated]]]:
    """Build what ends jobs, at most `MOST_ENDINGS` of them; with a token it may raise Fenced."""
    # A caller without a token may not read `leader`, and the script does not look at it.
    lease = keys.leader if token else keys.counts
    names = [lease, keys.open, keys.counts, keys.events, keys.dead, keys.due]
    args: list[Argument] = [
        token, limits.record_ttl_ms, limits.out_ttl_ms, limits.out_entries, limits.log_entries,
        len(endings),
    ]  # fmt: skip
    for end in endings:
        worker, hedge_worker = end.worker or "none", end.hedge_worker or "none"
        names += (
            keys.job(end.job_id), keys.arrivals(end.tenant), keys.work(worker),
            keys.control(worker), keys.body(end.job_id), keys.out(end.reply or end.job_id),
            keys.work(hedge_worker), keys.control(hedge_worker),
        )  # fmt: skip
        args += (
            end.job_id,
            end.outcome.value,
            encode(end.report),
            end.worker,
            "1" if end.reply else "",
            end.hedge_worker,
            end.entry,
        )
    return Call(script("terminate"), names, args, partial(led, _TERMINATED.answers))


def _options(job: Job, prefix: bytes) -> str:
    usual = job.max_attempts == USUAL_ATTEMPTS and job.deadline_s is None
    if usual and not prefix and not job.trace:
        return ""
    deadline = "-" if job.deadline_s is None else int(job.deadline_s * 1000)
    return f"{job.max_attempts} {deadline} {prefix.decode()} {job.trace}".rstrip()
