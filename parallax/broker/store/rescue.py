"""Bringing work back: from dead workers, busy siblings or nowhere; and junk out of the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from parallax.broker.link.connection import Link
from parallax.broker.link.errors import Spoilt
from parallax.broker.link.refusals import is_forbidden
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.attempts import NOBODY, Assignment
from parallax.broker.store.codec import Report, decode_about, encode
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.intake import pairs_after_status
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.misfits import expel, name_of, names_of
from parallax.core.bisection import each
from parallax.core.errors import Fenced, InvalidInput, StoreFault
from parallax.core.model import NAME
from parallax.core.pages import pages
from parallax.core.reasons import Reason

#: Most commands in one write, and most jobs in one run of `repair`.
_PIPELINE, _REPAIRED = 2_000, 200


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about an open job: a word and its detail, see `lua/repair.lua`."""

    job_id: str
    tenant: str
    word: str
    detail: str


class Rescue:
    """The scripts of the recoverer, the janitor and the thief."""

    def __init__(self, link: Link, keys: Keys, limits: Limits | None = None) -> None:
        self._link = link
        self._keys = keys
        self._limits = limits or Limits()

    def reclaim(self, lease: Lease, worker: str, held: Sequence[Assignment]) -> list[str]:
        """Give back what lies in a dead worker's stream; return a word for each.

        Returns an empty list when the worker turned out to be alive. An entry that the store
        stumbles over is set aside, and the janitor finds its job.
        """
        words = each(held, lambda some: self._reclaimed(lease, {worker: some})[0], Spoilt)
        junk = [
            (Entry(a.entry, [a.job_id.encode()]), str(word))
            for a, word in zip(held, words, strict=True) if isinstance(word, Spoilt)
        ]  # fmt: skip
        self.quarantine(self._keys.work(worker), junk)
        told = ["dropped" if isinstance(word, Spoilt) else word for word in words]
        return [word for word in told if word != "alive"]

    def reclaim_all(
        self, lease: Lease, dead: Mapping[str, Sequence[Assignment]]
    ) -> dict[str, list[str]]:
        """The same for several workers in two round trips.

        One by one if the store stumbles over something: what was done before is found done.
        """
        try:
            done = self._reclaimed(lease, dead)
        except Spoilt:
            return {worker: self.reclaim(lease, worker, held) for worker, held in dead.items()}
        return {
            worker: [word for word in words if word != "alive"]
            for worker, words in zip(dead, done, strict=True)
        }

    def _reclaimed(self, lease: Lease, dead: Mapping[str, Sequence[Assignment]]) -> list[list[str]]:
        owners = self._owners([a for held in dead.values() for a in held])
        rounds = [self._reclaiming(lease, *one, owners) for one in dead.items()]
        answers = self._link.run_each(script("reclaim"), rounds)
        return [
            ["alive"] * len(held)
            if answer[0] == b"alive"
            else [word for word, _ in pairs_after_status(answer)]
            for held, answer in zip(dead.values(), answers, strict=True)
        ]

    def _reclaiming(
        self,
        lease: Lease,
        worker: str,
        held: Sequence[Assignment],
        owners: Iterator[tuple[str, str]],
    ) -> tuple[list[str], list[Argument]]:
        """Return keys and arguments of the script for one worker."""
        keys, limits = self._keys, self._limits
        tenants: dict[str, int] = {}
        outs: dict[str, int] = {}
        rows: list[Argument] = []
        for assignment, (tenant, reply) in zip(held, islice(owners, len(held)), strict=True):
            rows += (
                assignment.entry,
                assignment.attempt,
                assignment.job_id,
                tenants.setdefault(tenant, len(tenants) + 1),
                outs.setdefault(reply, len(outs) + 1) if reply else "",
                encode(_death(assignment, worker, tenant)),
            )
        names = [
            keys.leader, keys.heartbeat(worker), keys.work(worker), keys.open, keys.counts,
            keys.events, keys.dead, keys.active, keys.bell, keys.due,
            *map(keys.arrivals, tenants), *map(keys.out, outs), *(keys.job(a.job_id) for a in held),
            *(keys.body(a.job_id) for a in held),
        ]  # fmt: skip
        head: list[Argument] = [
            lease.token, worker, limits.record_ttl_ms, limits.out_ttl_ms, limits.out_entries,
            limits.log_entries, len(tenants), len(outs), len(held), *tenants,
        ]  # fmt: skip
        return names, head + rows

    def _owners(self, held: Sequence[Assignment]) -> Iterator[tuple[str, str]]:
        """Yield the tenant of each job and whom its end is told ('' = nobody)."""
        for text in self._about(held):
            try:
                about = decode_about(text)
                yield about.spec.tenant, about.reply
            except InvalidInput:
                yield NOBODY, ""  # no record, or junk: the script sees that there is no job

    def _about(self, held: Sequence[Assignment]) -> Iterator[bytes | None]:
        for page in pages(held, _PIPELINE):
            yield from self._link.calls([("HGET", self._keys.job(a.job_id), "about") for a in page])

    def stop(self, lease: Lease, attempts: Sequence[tuple[str, str, int]]) -> None:
        """Tell workers to stop attempts: (worker, job, number). Raises Fenced."""
        if not attempts:
            return
        names = [self._keys.leader, *(self._keys.control(worker) for worker, _, _ in attempts)]
        limits = self._limits
        args: list[Argument] = [
            lease.token, limits.record_ttl_ms, limits.control_entries, len(attempts)
        ]  # fmt: skip
        for _, job_id, attempt in attempts:
            args += (job_id, attempt)
        if self._link.run(script("stop"), names, args)[0] == b"fenced":
            raise Fenced("another process holds the lease")

    def steal(
        self, lease: Lease, victim: str, thief: str, wanted: Sequence[tuple[str, int]], cap: int
    ) -> list[str]:
        """Move attempts (job, number) that have not begun from `victim` to `thief`.

        Returns a word for each, see `lua/steal.lua`. Raises Fenced.
        """
        keys = self._keys
        names = [keys.leader, keys.work(victim), keys.work(thief), keys.heartbeat(thief)]
        names += [keys.counts, keys.events, *(keys.job(job_id) for job_id, _ in wanted)]
        args: list[Argument] = [
            lease.token, victim, thief, cap, self._limits.log_entries, len(wanted), lease.epoch
        ]  # fmt: skip
        for job_id, attempt in wanted:
            args += (job_id, attempt)
        answer = self._link.run(script("steal"), names, args)
        return [word for word, _ in pairs_after_status(answer)]

    def open_jobs(self) -> int:
        """Return how many jobs are open."""
        return int(self._link.call("ZCARD", self._keys.open))

    def oldest_open(self, count: int, skip: int = 0) -> list[str]:
        """Return the open jobs that nobody touched for longest. What is no job is set aside.

        `skip` is how many of the oldest are left out.
        """
        found = self._link.call("ZRANGE", self._keys.open, skip, skip + count - 1)
        jobs, junk = names_of(found)
        expel(self._link, self._keys, self._keys.open, junk)
        return jobs

    def repair(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[str]:
        """Re-queue open jobs that are nowhere; return a word for each (see `lua/repair.lua`)."""
        return [found.word for found in self.looked_for(lease, jobs, grace_ms)]

    def remind(self, jobs: Sequence[str]) -> None:
        """Note in `due` the deadlines of jobs that wait: that index may have been lost."""
        keys = self._keys
        told = self._link.calls([("HGET", keys.job(job), "deadline") for job in jobs])
        known = [(job, due) for job, due in zip(jobs, told, strict=True) if due and due.isdigit()]
        for some in pages(known, _REPAIRED):
            self._link.call("ZADD", keys.due, *(part for job, due in some for part in (due, job)))

    def looked_for(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[Found]:
        """The same with all that was found, in two round trips.

        `spoilt` are jobs whose record nobody can understand, the store included.
        """
        if not jobs:
            return []
        found = each(jobs, lambda some: self._repaired(lease, some, grace_ms), Spoilt)
        return [
            Found(job, "", "spoilt", "") if isinstance(one, Spoilt) else one
            for job, one in zip(jobs, found, strict=True)
        ]

    def _repaired(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[Found]:
        keys, found = self._keys, list[Found]()
        records = self._link.calls([("HMGET", keys.job(job), "about", "at") for job in jobs])
        parts = list(pages(list(zip(jobs, records, strict=True)), _REPAIRED))
        rounds = [self._repairing(lease, part, grace_ms) for part in parts]
        for part, answer in zip(parts, self._link.run_each(script("repair"), rounds), strict=True):
            words = pairs_after_status(answer)
            for (job, (about, _)), (word, detail) in zip(part, words, strict=True):
                found.append(Found(job, _tenant(about), word, detail))
        return found

    def _repairing(
        self, lease: Lease, part: Sequence[tuple[str, Sequence[bytes | None]]], grace_ms: int
    ) -> tuple[list[str], list[Argument]]:
        """Return keys and arguments of the script for a page of jobs with their records."""
        keys = self._keys
        names = [keys.leader, keys.open, keys.counts, keys.active, keys.bell, keys.events]
        args: list[Argument] = [lease.token, grace_ms, self._limits.log_entries, len(part)]
        for job, (about, at) in part:
            tenant, who = _tenant(about), _who(at) or "none"
            stream = keys.arrivals(tenant or NOBODY)
            names += (keys.job(job), stream, keys.work(who), keys.heartbeat(who))
            args += (job, tenant, who)
        names += [keys.body(job) for job, _ in part]
        return names, args

    def scrub(self, worker: str, held: Sequence[Assignment], grace_ms: int = 0) -> list[str]:
        """Delete entries that no longer belong to their job, if that has not just ended."""
        words = each(held, lambda some: self._scrubbed([(worker, some)], grace_ms)[0], Spoilt)
        return ["kept" if isinstance(word, Spoilt) else word for word in words]

    def scrub_all(
        self, held_by: Mapping[str, Sequence[Assignment]], grace_ms: int = 0
    ) -> list[str]:
        """The same for several workers in one round trip; one by one if the store stumbles."""
        held = [(worker, some) for worker, some in held_by.items() if some]
        try:
            words = self._scrubbed(held, grace_ms)
        except Spoilt:
            words = [self.scrub(*one, grace_ms) for one in held]
        return [word for some in words for word in some]

    def _scrubbed(
        self, held_by: Sequence[tuple[str, Sequence[Assignment]]], grace_ms: int
    ) -> list[list[str]]:
        keys, rounds = self._keys, list[tuple[list[str], list[Argument]]]()
        for worker, held in held_by:
            names = [keys.work(worker), keys.counts, keys.events]
            names += [keys.job(a.job_id) for a in held]
            args: list[Argument] = [worker, self._limits.log_entries, len(held), grace_ms]
            for a in held:
                args += (a.entry, a.signature(worker))
            rounds.append((names, args))
        answers = self._link.run_each(script("scrub"), rounds)
        return [[word.decode() for word in answer] for answer in answers]

    def quarantine(self, stream: str, junk: Sequence[tuple[Entry, str]]) -> int:
        """Move entries that cannot be understood to the dead letters; return how many."""
        if not junk:
            return 0
        names = [stream, self._keys.dead, self._keys.counts]
        args: list[Argument] = [self._limits.log_entries, len(junk)]
        for entry, why in junk:
            args += (entry.id, why[:500], b" ".join(entry.fields)[:512])
        return sum(word == b"ok" for word in self._link.run(script("quarantine"), names, args))

    def note(self, stream: str, entry: Entry, why: str) -> None:
        """Write a dead letter on a part of an entry whose other parts were understood."""
        sample = b" ".join(entry.fields)[:512]
        letter = ("why", why[:500], "stream", stream, "entry", entry.id, "sample", sample)
        dead = ("XADD", self._keys.dead, "MAXLEN", "~", self._limits.log_entries, "*", *letter)
        self._link.calls([dead, ("HINCRBY", self._keys.counts, "malformed", 1)])

    def wake(self, tenants: Sequence[str]) -> dict[str, str]:
        """Make tenants active whose streams hold entries; return a word for each.

        See `lua/wake.lua`. A leader reads all but the `quiet` ones, whether their bell was heard or
        not.
        """
        if not tenants:
            return {}
        keys = self._keys
        names = [keys.active, keys.bell, *map(keys.arrivals, tenants)]
        words = self._link.run(script("wake"), names, list(tenants))
        return {t: word.decode() for t, word in zip(tenants, words, strict=True)}

    def scan(self, cursor: str, count: int = 1_000) -> tuple[str, list[str], list[str]]:
        """Return the next cursor, and the tenants and workers with a stream on this page of keys.

        Of workers those that are not registered: nobody reads their streams.
        """
        keys = self._keys
        arrivals, of_workers = keys.arrivals(""), (keys.work(""), keys.control(""))
        command = ("SCAN", cursor, "MATCH", f"{keys.prefix}*", "COUNT", count, "TYPE", "stream")
        try:
            following, found = self._link.call(*command)
        except StoreFault as error:
            if not is_forbidden(error):
                raise
            return "0", [], []  # this user may not list keys: they are of other cells, too
        names = [key.decode("utf-8", "replace") for key in found]
        tenants = [name.removeprefix(arrivals) for name in names if name.startswith(arrivals)]
        workers = {n.removeprefix(own) for n in names for own in of_workers if n.startswith(own)}
        strays = sorted(worker for worker in workers if NAME.fullmatch(worker))
        if strays:
            known = self._link.call("HMGET", keys.workers, *strays)
            strays = [w for w, about in zip(strays, known, strict=True) if about is None]
        return following.decode(), [name for name in tenants if NAME.fullmatch(name)], strays


def _death(assignment: Assignment, worker: str, tenant: str) -> Report:
    error = f"the worker {worker} died during attempt {assignment.attempt}"
    number, reason = int(assignment.attempt), Reason.ATTEMPTS_USED_UP
    return Report(tenant, worker, number, assignment.estimate, error=error, reason=reason)


def _tenant(about: bytes | None) -> str:
    try:
        return decode_about(about).spec.tenant
    except InvalidInput:
        return ""  # no record, or junk: the script sees which


def _who(at: bytes | None) -> str:
    """Return who holds a job, or '' if that could not stand in a key."""
    holder = (at or b"").partition(b" ")[2]
    return name_of(holder.partition(b"/")[0])
