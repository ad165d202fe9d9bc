"""Ray Serve's router: the shorter of two queues drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import candidates_of, put


@ROUTING.register("ray_pow2")
@dataclass(slots=True)
class RayPow2:
    """Draw two distinct workers and choose the one with fewer requests, the first drawn if equal.

    Source: ray-project/ray, serve/_private/request_router/pow_2_router.py; it counts requests and
    asks the replicas for their number. Cost: O(workers) per job. For comparison only.
    """

    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def seed(self, random: Random) -> None:
        """Use this source for the draws."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        candidates = candidates_of(cluster)
        routes: list[str | None] = []
        for job in jobs:
            open_ = [candidate for candidate in candidates if candidate.open]
            drawn = self._random.sample(open_, min(2, len(open_)))
            chosen = min(drawn, key=lambda candidate: candidate.running, default=None)
            routes.append(put(job, chosen, 0))
        return routes
