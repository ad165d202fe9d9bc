"""llm-d's load-aware profile: queue length and KV memory, scored and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView, check_number
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, candidates_of, cheapest, put


def queue_scores(candidates: Sequence[Candidate]) -> list[float]:
    """Return 1 for the shortest waiting line, 0 for the longest, linear between; all 1 if equal."""
    lines = [candidate.waiting for candidate in candidates]
    low, high = min(lines), max(lines)
    return [(high - line) / (high - low) if high > low else 1.0 for line in lines]


@ROUTING.register("llmd_load")
@dataclass(slots=True)
class LlmdLoad:
    """Choose the highest `queue_weight * queue score + kv_weight * (1 - KV memory in use)`.

    The queue score is 1 for the worker with the fewest waiting requests, 0 for that with the most.

    Source: the load-scheduling profile of llm-d's published benchmark (queue-scorer and
    kv-cache-scorer, 1 each, max-score-picker). Cost: O(workers) per job. For comparison only.
    """

    queue_weight: float = 1.0
    kv_weight: float = 1.0
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("llmd_load.queue_weight", self.queue_weight, 0.0, 1e6)
        check_number("llmd_load.kv_weight", self.kv_weight, 0.0, 1e6)

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        candidates = candidates_of(cluster)
        routes = []
        for job in jobs:
            scores = (
                dict(zip((c.view.id for c in candidates), queue_scores(candidates), strict=True))
                if candidates
                else {}
            )

            def cost(candidate: Candidate, scores: dict[str, float] = scores) -> float:
                memory = 1.0 - candidate.view.kv_used
                return -(self.queue_weight * scores[candidate.view.id] + self.kv_weight * memory)

            routes.append(put(job, cheapest(candidates, cost, self._random), 0))
        return routes
