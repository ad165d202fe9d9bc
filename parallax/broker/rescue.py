"""Bringing work back: from dead workers, busy siblings or nowhere; and junk out of the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parallax.broker.attempts import NOBODY, Assignment
from parallax.broker.codec import Report, decode_about, encode
from parallax.broker.connection import Argument, Link, Spoilt
from parallax.broker.dispatching import Entry, Lease
from parallax.broker.intake import pairs_after_status
from parallax.broker.keys import Keys
from parallax.broker.limits import Limits
from parallax.broker.misfits import expel, name_of, names_of
from parallax.broker.refusals import is_forbidden
from parallax.broker.scripts import script
from parallax.core.bisection import each
from parallax.core.errors import Fenced, InvalidInput, StoreFault
from parallax.core.model import NAME
from parallax.core.reasons import Reason


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
        words = each(held, lambda some: self._reclaimed(lease, worker, some), Spoilt)
        junk = [
            (Entry(a.entry, [a.job_id.encode()]), str(word))
            for a, word in zip(held, words, strict=True) if isinstance(word, Spoilt)
        ]  # fmt: skip
        self.quarantine(self._keys.work(worker), junk)
        told = ["dropped" if isinstance(word, Spoilt) else word for word in words]
        return [word for word in told if word != "alive"]

    def _reclaimed(self, lease: Lease, worker: str, held: Sequence[Assignment]) -> list[str]:
        keys, limits = self._keys, self._limits
        tenants: dict[str, int] = {}
        outs: dict[str, int] = {}
        rows: list[Argument] = []
        for assignment, (tenant, reply) in zip(held, self._owners(held), strict=True):
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
        answer = self._link.run(script("reclaim"), names, head + rows)
        if answer[0] == b"alive":
            return ["alive"] * len(held)
        return [word for word, _ in pairs_after_status(answer)]

    def _owners(self, held: Sequence[Assignment]) -> Iterator[tuple[str, str]]:
        """Yield the tenant of each job and whom its end is told ('' = nobody)."""
        for text in self._link.calls([("HGET", self._keys.job(a.job_id), "about") for a in held]):
            try:
                about = decode_about(text)
                yield about.spec.tenant, about.reply
            except InvalidInput:
                yield NOBODY, ""  # no record, or junk: the script sees that there is no job

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

    def oldest_open(self, count: int) -> list[str]:
        """Return the open jobs that nobody touched for longest. What is no job is set aside."""
        jobs, junk = names_of(self._link.call("ZRANGE", self._keys.open, 0, count - 1))
        expel(self._link, self._keys, self._keys.open, junk)
        return jobs

    def repair(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[str]:
        """Re-queue open jobs that are nowhere; return a word for each (see `lua/repair.lua`).

        `spoilt` are jobs whose record nobody can understand, the store included.
        """
        if not jobs:
            return []
        words = each(jobs, lambda some: self._repaired(lease, some, grace_ms), Spoilt)
        return ["spoilt" if isinstance(word, Spoilt) else word for word in words]

    def _repaired(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[str]:
        keys = self._keys
        records = self._link.calls([("HMGET", keys.job(job), "about", "at") for job in jobs])
        names = [keys.leader, keys.open, keys.counts, keys.active, keys.bell, keys.events]
        args: list[Argument] = [lease.token, grace_ms, self._limits.log_entries, len(jobs)]
        for job, (about, at) in zip(jobs, records, strict=True):
            tenant, who = _tenant(about), _who(at) or "none"
            stream = keys.arrivals(tenant or NOBODY)
            names += (keys.job(job), stream, keys.work(who), keys.heartbeat(who))
            args += (job, tenant, who)
        names += map(keys.body, jobs)
        answer = self._link.run(script("repair"), names, args)
        return [word for word, _ in pairs_after_status(answer)]

    def scrub(self, worker: str, held: Sequence[Assignment], grace_ms: int = 0) -> list[str]:
        """Delete entries that no longer belong to their job, if that has not just ended."""
        if not held:
            return []
        words = each(held, lambda some: self._scrubbed(worker, some, grace_ms), Spoilt)
        return ["kept" if isinstance(word, Spoilt) else word for word in words]

    def _scrubbed(self, worker: str, held: Sequence[Assignment], grace_ms: int) -> list[str]:
        keys = self._keys
        names = [keys.work(worker), keys.counts, keys.events, *(keys.job(a.job_id) for a in held)]
        args: list[Argument] = [worker, self._limits.log_entries, len(held), grace_ms]
        for a in held:
            args += (a.entry, a.signature(worker))
        return [word.decode() for word in self._link.run(script("scrub"), names, args)]

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

    def wake(self, tenants: Sequence[str]) -> int:
        """Ring for tenants whose streams hold entries nobody rang for; return how many."""
        if not tenants:
            return 0
        keys = self._keys
        names = [keys.active, keys.bell, *map(keys.arrivals, tenants)]
        return sum(word == b"rung" for word in self._link.run(script("wake"), names, list(tenants)))

    def scan(self, cursor: str, count: int = 1_000) -> tuple[str, list[str], list[str]]:
        """Return the next cursor, and the tenants and workers with a stream on this page of keys.

        Of workers those that are not registered: nobody reads their streams.
        """
        keys = self._keys
        arrivals, work = keys.arrivals(""), keys.work("")
        command = ("SCAN", cursor, "MATCH", f"{keys.prefix}*", "COUNT", count, "TYPE", "stream")
        try:
            following, found = self._link.call(*command)
        except StoreFault as error:
            if not is_forbidden(error):
                raise
            return "0", [], []  # this user may not list keys: they are of other cells, too
        names = [key.decode("utf-8", "replace") for key in found]
        tenants = [name.removeprefix(arrivals) for name in names if name.startswith(arrivals)]
        workers = [name.removeprefix(work) for name in names if name.startswith(work)]
        strays = [worker for worker in workers if NAME.fullmatch(worker)]
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
