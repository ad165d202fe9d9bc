"""Ray Serve's router: the shorter of two queues drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, OneByOne, put


@ROUTING.register("ray_pow2")
@dataclass(slots=True)
class RayPow2(OneByOne):
    """Draw two distinct workers and choose the one with fewer requests, the first drawn if equal.

    Source: ray-project/ray, serve/_private/request_router/pow_2_router.py; it counts requests and
    asks the replicas for their number. Cost: O(workers) per job. For comparison only.
    """

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        open_ = [candidate for candidate in candidates if candidate.open]
        drawn = self._random.sample(open_, min(2, len(open_)))
        return put(job, min(drawn, key=lambda candidate: candidate.running, default=None), 0)
