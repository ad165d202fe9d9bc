"""Consistent hashing with bounded loads: a home for every key, and a neighbour when it is full."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from parallax.core.hashing import point
from parallax.core.model import ClusterView, JobView, check_int, check_number
from parallax.policies.registry import ROUTING


@ROUTING.register("consistent_hash")
@dataclass(slots=True)
class ConsistentHash:
    """Send a key to its place on a ring, or on to the next worker while one holds too much.

    The key is the session, else the first block of the prompt, else the job itself. A worker takes
    at most `ceil(bound * (jobs in flight + 1) / workers)` jobs. When a worker comes or goes only
    its own keys move, about one in as many as there are workers; with `hash mod n` nearly all do.

    Source: Karger et al. (STOC'97); bounded loads: Mirrokni, Thorup & Zadimoghaddam (SODA'18), as
    in HAProxy. Cost: O(log points + workers walked) per job; the ring is built anew when the set of
    workers changes. Use it for affinity without an index; it sees load only at the bound.
    """

    bound: float = 1.25  # jobs of a worker over the mean
    points: int = 100  # places of a worker on the ring
    _members: tuple[str, ...] = field(default=(), init=False, repr=False)
    _ring: list[tuple[int, str]] = field(default_factory=list, init=False, repr=False)
    _places: dict[str, list[tuple[int, str]]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("consistent_hash.bound", self.bound, 1.0, 1e6)
        check_int("consistent_hash.points", self.points, 1, 10_000)

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        workers = cluster.workers
        if not workers:
            return [None] * len(jobs)
        self._build(tuple(worker.id for worker in workers))
        load = {worker.id: worker.in_flight for worker in workers}
        free = {worker.id: worker.free for worker in workers}
        total = sum(load.values())
        routes: list[str | None] = []
        for job in jobs:
            total += 1
            cap = ceil(self.bound * total / len(workers))
            chosen = self._walk(point(_key(job)), load, free, cap)
            if chosen is None:
                total -= 1
            else:
                load[chosen] += 1
                free[chosen] -= 1
            routes.append(chosen)
        return routes

    def _walk(self, start: int, load: dict[str, int], free: dict[str, int], cap: int) -> str | None:
        """Return the first worker from there on that may take one more."""
        spare: str | None = None
        for name in self._from(start):
            if free[name] > 0:
                if load[name] < cap:
                    return name
                spare = spare or name  # the others have no place: the bound must give
        return spare

    def _from(self, start: int) -> Iterator[str]:
        """Yield the workers in the order of the ring, each once."""
        place = bisect_right(self._ring, (start, ""))
        seen: set[str] = set()
        for i in range(len(self._ring)):
            name = self._ring[(place + i) % len(self._ring)][1]
            if name not in seen:
                seen.add(name)
                yield name
                if len(seen) == len(self._members):
                    return

    def _build(self, members: tuple[str, ...]) -> None:
        if members == self._members:
            return
        places = {
            name: self._places.get(name)
            or [(point(f"{name}#{n}"), name) for n in range(self.points)]
            for name in members
        }
        self._members, self._places = members, places
        self._ring = sorted(place for own in places.values() for place in own)


def _key(job: JobView) -> str:
    if job.session:
        return f"{job.tenant}/{job.session}"
    return f"block {job.prefix[0]}" if job.prefix else job.id
