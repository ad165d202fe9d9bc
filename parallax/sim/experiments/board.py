"""Routing on old news: servers write how loaded they are on a board, every so often.

The routing policy is the one that runs live; what is made up is only what it is shown. With
`age_s` 0 it sees every queue as it is. Otherwise it sees the board as it was written at the last
multiple of `age_s`, and, if it counts for itself (`counts`), what it has sent since.

Source: Mitzenmacher, How Useful Is Old Information? (TPDS 2000).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean

from parallax.core.model import ClusterView, JobView, WorkerView
from parallax.policies.interfaces import RoutingPolicy
from parallax.policies.registry import ROUTING
from parallax.sim.experiments.servers import WARM_UP

ROOM = 1_000_000


@dataclass(slots=True)
class Board:
    """Servers with a queue each, first come first served."""

    policy: RoutingPolicy
    servers: int
    age_s: float
    counts: bool = False

    def responses(self, jobs: Iterable[tuple[float, float]], tails: int = 0) -> Responses:
        """Serve (arrival, seconds) in order of arrival. O(servers) each.

        `tails` asks for the shares of servers with at least 1 to `tails` jobs, as arrivals see
        them.
        """
        free_at, held = [0.0] * self.servers, [0] * self.servers
        ends: list[tuple[float, int]] = []
        shown = [WorkerView(f"w{n:04d}", 1, free=ROOM) for n in range(self.servers)]
        index = {view.id: n for n, view in enumerate(shown)}
        times, seen, written = [], [0] * tails, -1.0
        deep = [0] * (tails + 1)  # how many servers hold at least so many jobs
        for number, (at, seconds) in enumerate(jobs):
            while ends and ends[0][0] <= at:
                n = heapq.heappop(ends)[1]
                if held[n] <= tails:
                    deep[held[n]] -= 1
                held[n] -= 1
                if not self.age_s:
                    shown[n] = _with(shown[n], held[n])
            if self.age_s and at // self.age_s != written:
                written = at // self.age_s
                shown = [_with(view, held[n]) for n, view in enumerate(shown)]
            for depth in range(tails):
                seen[depth] += deep[depth + 1]
            view = JobView(f"j{number}", "a", 1, 1, at)
            (chosen,) = self.policy.route([view], [1.0], ClusterView(tuple(shown), at))
            n = index[chosen or ""]
            held[n] += 1
            if held[n] <= tails:
                deep[held[n]] += 1
            if not self.age_s:
                shown[n] = _with(shown[n], held[n])
            elif self.counts:
                shown[n] = _with(shown[n], shown[n].in_flight + 1)
            free_at[n] = max(at, free_at[n]) + seconds
            heapq.heappush(ends, (free_at[n], n))
            times.append(free_at[n] - at)
        share = self.servers * len(times)
        return Responses(times, [count / share for count in seen])


@dataclass(frozen=True, slots=True)
class Responses:
    """Seconds from arrival to end of every job, and how long the queues were."""

    times: list[float]
    tails: list[float]

    @property
    def mean_s(self) -> float:
        """Mean after the warm-up."""
        return fmean(self.times[int(WARM_UP * len(self.times)) :])


def board(
    routing: str, parameters: Mapping[str, object], seed: int, servers: int, age_s: float,
    counts: bool = False,
) -> Board:  # fmt: skip
    """Return a board before a policy that the registry knows."""
    policy = ROUTING.build(routing, parameters, Random(f"{seed}/board"))
    return Board(policy, servers, age_s, counts)


def _with(view: WorkerView, in_flight: int) -> WorkerView:
    return replace(view, in_flight=in_flight, pending_cost=float(in_flight))
