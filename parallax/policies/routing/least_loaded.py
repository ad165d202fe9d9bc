"""Least loaded: the worker that would be done with this job first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.placing import Tally


@ROUTING.register("least_loaded")
@dataclass(slots=True)
class LeastLoaded:
    """Choose the smallest `slowness * (pending cost + this job's cost)`.

    Pending cost is counted by the router itself, so it is never stale and includes what was placed
    a moment ago in the same batch. Slowness is the worker's mean service time per unit of cost
    over the fleet's, an EMA without start-up bias; it is normalised by cost, so long jobs do not
    look like slow workers. Ties are broken at random: always taking the first would heat one
    replica at low load.

    Source: least-work-left; Peak-EWMA in Finagle and tower. Cost: O(workers) per job. Use it with
    one router whose own counts are fresh. With several routers, or reports that are old,
    `power_of_two` is safer: this one then herds.
    """

    by_requests: bool = False  # count requests instead of cost, as many balancers do
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def scores(self, job: JobView, estimate: float, cluster: ClusterView) -> dict[str, float]:
        """See `interfaces.Explaining`."""
        tally, cost = Tally.of(cluster, self.by_requests), 1.0 if self.by_requests else estimate
        return {
            cluster.workers[i].id: tally.slowness[i] * (tally.pending[i] + cost) for i in tally.open
        }

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        tally, draw = Tally.of(cluster, self.by_requests), self._random.random
        pending, slowness = tally.pending, tally.slowness
        routes: list[str | None] = []
        for estimate in estimates:
            cost = 1.0 if self.by_requests else estimate
            best, least, ties = -1, 0.0, 0
            for i in tally.open:
                load = slowness[i] * (pending[i] + cost)
                if best < 0 or load < least:
                    best, least, ties = i, load, 1
                elif load == least:
                    ties += 1
                    if draw() * ties < 1.0:  # each of the tied ones is equally likely
                        best = i
            routes.append(tally.place(best, cost) if best >= 0 else None)
        return routes
