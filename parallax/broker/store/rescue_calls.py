"""The scripts of the recoverer, the janitor and the thief, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from parallax.broker.link.call import Call
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Answer, Lexicon, led
from parallax.broker.store.attempts import NOBODY, Assignment
from parallax.broker.store.codec import Report, decode_about, encode
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.holding import decode_holding
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.errors import InvalidInput
from parallax.core.reasons import Reason
from parallax.core.words import Done, Reclaimed, Repaired, Scrubbed, Stolen, Woken

_REPAIRED, _STOLEN, _SCRUBBED = Lexicon(Repaired), Lexicon(Stolen), Lexicon(Scrubbed)
_RECLAIMED, _WOKEN, _DONE = Lexicon(Reclaimed), Lexicon(Woken), Lexicon(Done)

#: A job, and the fields `about` and `at` of its record.
Looked = tuple[str, Sequence[bytes | None]]


@dataclass(frozen=True, slots=True)
class Found:
    """The finding about an open job: a word and its detail, see `lua/repair.lua`."""

    job_id: str
    tenant: str
    word: Repaired
    detail: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The facts of a job that its entry in a dead worker's stream does not carry."""

    tenant: str = NOBODY
    reply: str = ""  # whom its end is told; '' for nobody
    streams: bool = False


def owner_of(about: bytes | None) -> Owner:
    """Return what a record says; nobody, if that cannot be read: the script sees that."""
    try:
        known = decode_about(about)
    except InvalidInput:
        return Owner()
    return Owner(known.spec.tenant, known.reply, known.streams)


def reclaim_call(
    keys: Keys,
    limits: Limits,
    lease: Lease,
    worker: str,
    held: Sequence[Assignment],
    owners: Sequence[Owner],
) -> Call[list[Reclaimed]]:
    """Build what gives a dead worker's attempts back; all are `alive` if it is not dead."""
    tenants: dict[str, int] = {}
    outs: dict[str, int] = {}
    rows: list[Argument] = []
    broken: list[Argument] = []
    for assignment, owner in zip(held, owners, strict=True):
        rows += (
            assignment.entry,
            assignment.attempt,
            assignment.job_id,
            tenants.setdefault(owner.tenant, len(tenants) + 1),
            outs.setdefault(owner.reply, len(outs) + 1) if owner.reply else "",
            encode(_death(assignment, worker, owner.tenant)),
        )
        broken.append(encode(_break(assignment, worker, owner.tenant)) if owner.streams else "")
    names = [
        keys.leader, keys.heartbeat(worker), keys.work(worker), keys.open, keys.counts,
        keys.events, keys.dead, keys.active, keys.bell, keys.due,
        *map(keys.arrivals, tenants), *map(keys.out, outs), *(keys.job(a.job_id) for a in held),
        *(keys.body(a.job_id) for a in held),
    ]  # fmt: skip
    args: list[Argument] = [
        lease.token, worker, limits.record_ttl_ms, limits.out_ttl_ms, limits.out_entries,
        limits.log_entries, len(tenants), len(outs), len(held), *tenants, *rows,
        *(broken if any(broken) else ()),
    ]  # fmt: skip
    return Call(script("reclaim"), names, args, partial(_reclaimed, len(held)))


def _reclaimed(count: int, reply: Sequence[bytes]) -> list[Reclaimed]:
    if reply[0] == b"alive":
        return [Reclaimed.ALIVE] * count
    return [word for word, _ in led(_RECLAIMED.answers, reply)]


def _death(assignment: Assignment, worker: str, tenant: str) -> Report:
    error = f"the worker {worker} died during attempt {assignment.attempt}"
    number, reason = int(assignment.attempt), Reason.ATTEMPTS_USED_UP
    return Report(tenant, worker, number, assignment.estimate, error=error, reason=reason)


def _break(assignment: Assignment, worker: str, tenant: str) -> Report:
    death = _death(assignment, worker, tenant)
    error = f"{death.error}, after a part of the answer was sent"
    return replace(death, error=error, reason=Reason.STREAM_BROKEN)


def stop_call(
    keys: Keys, limits: Limits, lease: Lease, attempts: Sequence[tuple[str, str, int]]
) -> Call[Done]:
    """Build what tells workers to stop attempts: (worker, job, number)."""
    names = [keys.leader, *(keys.control(worker) for worker, _, _ in attempts)]
    args: list[Argument] = [
        lease.token, limits.record_ttl_ms, limits.control_entries, len(attempts)
    ]  # fmt: skip
    for _, job_id, attempt in attempts:
        args += (job_id, attempt)
    return Call(script("stop"), names, args, _DONE.first)


#: An attempt that is to be moved: its job, its number, and the model that its worker must serve.
Wanted = tuple[str, int, str]


def steal_call(
    keys: Keys,
    limits: Limits,
    lease: Lease,
    victim: str,
    thief: str,
    wanted: Sequence[Wanted],
    cap: int,
) -> Call[list[Answer[Stolen]]]:
    """Build what moves attempts that have not begun from `victim` to `thief`."""
    names = [keys.leader, keys.work(victim), keys.work(thief), keys.heartbeat(thief)]
    names += [keys.counts, keys.events, keys.workers, *(keys.job(one[0]) for one in wanted)]
    args: list[Argument] = [
        lease.token, victim, thief, cap, limits.log_entries, len(wanted), lease.epoch
    ]  # fmt: skip
    for one in wanted:
        args += one
    return Call(script("steal"), names, args, partial(led, _STOLEN.answers))


def repair_call(
    keys: Keys, limits: Limits, lease: Lease, jobs: Sequence[Looked], grace_ms: int
) -> Call[list[Found]]:
    """Build what re-queues open jobs that are nowhere. Who holds them decides which keys it has."""
    names = [keys.leader, keys.open, keys.counts, keys.active, keys.bell, keys.events]
    args: list[Argument] = [lease.token, grace_ms, limits.log_entries, len(jobs)]
    tenants: list[str] = []
    for job, (about, at) in jobs:
        tenant, holding = _tenant(about), decode_holding(at)
        who = holding.who if holding else "none"
        stream = keys.arrivals(tenant or NOBODY)
        names += (keys.job(job), stream, keys.work(who), keys.heartbeat(who))
        args += (job, tenant, who)
        tenants.append(tenant)
    names += [keys.body(job) for job, _ in jobs]
    return Call(script("repair"), names, args, partial(_found, [job for job, _ in jobs], tenants))


def _found(jobs: Sequence[str], tenants: Sequence[str], reply: Sequence[bytes]) -> list[Found]:
    answers = led(_REPAIRED.answers, reply)
    return [Found(job, tenant, *a) for job, tenant, a in zip(jobs, tenants, answers, strict=True)]


def _tenant(about: bytes | None) -> str:
    try:
        return decode_about(about).spec.tenant
    except InvalidInput:
        return ""  # no record, or junk: the script sees which


def scrub_call(
    keys: Keys, limits: Limits, worker: str, held: Sequence[Assignment], grace_ms: int
) -> Call[list[Scrubbed]]:
    """Build what deletes entries of a worker's stream that no longer belong to their job."""
    names = [keys.work(worker), keys.counts, keys.events]
    names += [keys.job(a.job_id) for a in held]
    args: list[Argument] = [worker, limits.log_entries, len(held), grace_ms]
    for a in held:
        args += (a.entry, a.signature(worker))
    return Call(script("scrub"), names, args, _SCRUBBED.words)


def wake_call(keys: Keys, tenants: Sequence[str]) -> Call[list[Woken]]:
    """Build what makes tenants active whose streams hold entries."""
    names = [keys.active, keys.bell, *map(keys.arrivals, tenants)]
    return Call(script("wake"), names, tenants, _WOKEN.words)
