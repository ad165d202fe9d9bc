"""The scripts of the recoverer, the janitor and the thief, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from parallax.broker.link.call import Call
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Answer, Lexicon, led
from parallax.broker.store.attempts import NOBODY, Assignment
from parallax.broker.store.codec import decode_about
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.holding import decode_holding
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.errors import InvalidInput
from parallax.core.words import Done, Repaired, Scrubbed, SetAside, Stolen, Woken

_REPAIRED, _STOLEN, _SCRUBBED = Lexicon(Repaired), Lexicon(Stolen), Lexicon(Scrubbed)
_SET_ASIDE, _WOKEN, _DONE = Lexicon(SetAside), Lexicon(Woken), Lexicon(Done)

#: A job, and the fields `about` and `at` of its record.
Looked = tuple[str, Sequence[bytes | None]]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about an open job: a word and its detail, see `lua/repair.lua`."""

    job_id: str
    tenant: str
    word: Repaired
    detail: str


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


def steal_call(
    keys: Keys,
    limits: Limits,
    lease: Lease,
    victim: str,
    thief: str,
    wanted: Sequence[tuple[str, int]],
    cap: int,
) -> Call[list[Answer[Stolen]]]:
    """Build what moves attempts (job, number) that have not begun from `victim` to `thief`."""
    names = [keys.leader, keys.work(victim), keys.work(thief), keys.heartbeat(thief)]
    names += [keys.counts, keys.events, *(keys.job(job_id) for job_id, _ in wanted)]
    args: list[Argument] = [
        lease.token, victim, thief, cap, limits.log_entries, len(wanted), lease.epoch
    ]  # fmt: skip
    for job_id, attempt in wanted:
        args += (job_id, attempt)
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


def quarantine_call(
    keys: Keys, limits: Limits, stream: str, junk: Sequence[tuple[Entry, str]]
) -> Call[list[SetAside]]:
    """Build what moves entries that cannot be understood to the dead letters, and why."""
    names = [stream, keys.dead, keys.counts]
    args: list[Argument] = [limits.log_entries, len(junk)]
    for entry, why in junk:
        args += (entry.id, why[:500], b" ".join(entry.fields)[:512])
    return Call(script("quarantine"), names, args, _SET_ASIDE.words)


def wake_call(keys: Keys, tenants: Sequence[str]) -> Call[list[Woken]]:
    """Build what makes tenants active whose streams hold entries."""
    names = [keys.active, keys.bell, *map(keys.arrivals, tenants)]
    return Call(script("wake"), names, tenants, _WOKEN.words)
