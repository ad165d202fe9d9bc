"""Bringing work back: from dead workers, busy siblings or nowhere; and junk out of the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from parallax.broker.link.connection import Link
from parallax.broker.link.errors import Spoilt
from parallax.broker.link.refusals import is_forbidden
from parallax.broker.store.attempts import Assignment
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.misfits import expel, names_of, quarantine_call
from parallax.broker.store.rescue_calls import (
    Found,
    Owner,
    Wanted,
    owner_of,
    reclaim_call,
    repair_call,
    scrub_call,
    steal_call,
    stop_call,
    wake_call,
)
from parallax.core.bisection import each
from parallax.core.errors import StoreFault
from parallax.core.model import NAME
from parallax.core.pages import pages
from parallax.core.words import Reclaimed, Repaired, Scrubbed, Stolen, Woken

#: Most commands in one write, and most jobs in one run of `repair`.
_PIPELINE, _REPAIRED = 2_000, 200


class Rescue:
    """The scripts of the recoverer, the janitor and the thief."""

    def __init__(self, link: Link, keys: Keys, limits: Limits | None = None) -> None:
        self._link = link
        self._keys = keys
        self._limits = limits or Limits()

    def reclaim(self, lease: Lease, worker: str, held: Sequence[Assignment]) -> list[Reclaimed]:
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
        told = [Reclaimed.DROPPED if isinstance(word, Spoilt) else word for word in words]
        return [word for word in told if word is not Reclaimed.ALIVE]

    def reclaim_all(
        self, lease: Lease, dead: Mapping[str, Sequence[Assignment]]
    ) -> dict[str, list[Reclaimed]]:
        """The same for several workers in two round trips.

        One by one if the store refuses one of them: items that were done before are found done.
        """
        try:
            done = self._reclaimed(lease, dead)
        except Spoilt:
            return {worker: self.reclaim(lease, worker, held) for worker, held in dead.items()}
        return {
            worker: [word for word in words if word is not Reclaimed.ALIVE]
            for worker, words in zip(dead, done, strict=True)
        }

    def _reclaimed(
        self, lease: Lease, dead: Mapping[str, Sequence[Assignment]]
    ) -> list[list[Reclaimed]]:
        keys, limits = self._keys, self._limits
        owners = self._owners([a for held in dead.values() for a in held])
        calls = [
            reclaim_call(keys, limits, lease, worker, held, list(islice(owners, len(held))))
            for worker, held in dead.items()
        ]
        return self._link.do_each(calls)

    def _owners(self, held: Sequence[Assignment]) -> Iterator[Owner]:
        for page in pages(held, _PIPELINE):
            records = [("HGET", self._keys.job(a.job_id), "about") for a in page]
            yield from map(owner_of, self._link.calls(records))

    def stop(self, lease: Lease, attempts: Sequence[tuple[str, str, int]]) -> None:
        """Tell workers to stop attempts: (worker, job, number). Raises Fenced."""
        if not attempts:
            return
        self._link.do(stop_call(self._keys, self._limits, lease, attempts))

    def steal(
        self, lease: Lease, victim: str, thief: str, wanted: Sequence[Wanted], cap: int
    ) -> list[Stolen]:
        """Move attempts that have not begun from `victim` to `thief`.

        Returns a word for each, see `lua/steal.lua`. Raises Fenced.
        """
        call = steal_call(self._keys, self._limits, lease, victim, thief, wanted, cap)
        return [word for word, _ in self._link.do(call)]

    def open_jobs(self) -> int:
        """Return how many jobs are open."""
        return int(self._link.call("ZCARD", self._keys.open))

    def oldest_open(self, count: int, skip: int = 0) -> list[str]:
        """Return the open jobs that nobody touched for longest. Junk members are set aside.

        `skip` is how many of the oldest are left out.
        """
        found = self._link.call("ZRANGE", self._keys.open, skip, skip + count - 1)
        jobs, junk = names_of(found)
        expel(self._link, self._keys, self._keys.open, junk)
        return jobs

    def repair(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[Repaired]:
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
            Found(job, "", Repaired.SPOILT, "") if isinstance(one, Spoilt) else one
            for job, one in zip(jobs, found, strict=True)
        ]

    def _repaired(self, lease: Lease, jobs: Sequence[str], grace_ms: int) -> list[Found]:
        keys, limits = self._keys, self._limits
        records = self._link.calls([("HMGET", keys.job(job), "about", "at") for job in jobs])
        parts = pages(list(zip(jobs, records, strict=True)), _REPAIRED)
        calls = [repair_call(keys, limits, lease, part, grace_ms) for part in parts]
        return [one for found in self._link.do_each(calls) for one in found]

    def scrub(self, worker: str, held: Sequence[Assignment], grace_ms: int = 0) -> list[Scrubbed]:
        """Delete entries that no longer belong to their job, if that has not just ended."""
        words = each(held, lambda some: self._scrubbed([(worker, some)], grace_ms)[0], Spoilt)
        return [Scrubbed.KEPT if isinstance(word, Spoilt) else word for word in words]

    def scrub_all(
        self, held_by: Mapping[str, Sequence[Assignment]], grace_ms: int = 0
    ) -> list[Scrubbed]:
        """The same for several workers in one round trip; one by one if the store stumbles."""
        held = [(worker, some) for worker, some in held_by.items() if some]
        try:
            words = self._scrubbed(held, grace_ms)
        except Spoilt:
            words = [self.scrub(*one, grace_ms) for one in held]
        return [word for some in words for word in some]

    def _scrubbed(
        self, held_by: Sequence[tuple[str, Sequence[Assignment]]], grace_ms: int
    ) -> list[list[Scrubbed]]:
        keys, limits = self._keys, self._limits
        return self._link.do_each(
            [scrub_call(keys, limits, worker, held, grace_ms) for worker, held in held_by]
        )

    def quarantine(self, stream: str, junk: Sequence[tuple[Entry, str]]) -> int:
        """Move entries that cannot be understood to the dead letters; return how many."""
        if not junk:
            return 0
        return self._link.do(quarantine_call(self._keys, self._limits, stream, junk))

    def note(self, stream: str, entry: Entry, why: str) -> None:
        """Write a dead letter on a part of an entry whose other parts were understood."""
        sample = b" ".join(entry.fields)[:512]
        letter = ("why", why[:500], "stream", stream, "entry", entry.id, "sample", sample)
        dead = ("XADD", self._keys.dead, "MAXLEN", "~", self._limits.log_entries, "*", *letter)
        self._link.calls([dead, ("HINCRBY", self._keys.counts, "malformed", 1)])

    def wake(self, tenants: Sequence[str]) -> dict[str, Woken]:
        """Make tenants active whose streams hold entries; return a word for each.

        See `lua/wake.lua`. A leader reads all but the `quiet` ones, whether their bell was heard or
        not.
        """
        if not tenants:
            return {}
        return dict(zip(tenants, self._link.do(wake_call(self._keys, tenants)), strict=True))

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
