"""llm-d's load-aware profile: queue length and KV memory, scored and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parallax.core.model import JobView, check_number
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, OneByOne, cheapest, put


@dataclass(slots=True)
class Scrapes:
    """How long each worker's line was when it last reported.

    The original counts nothing itself. It knows an engine by its metrics, and these stand still
    while the engine is in the midst of a long step: what comes meanwhile goes to the same one.
    """

    _seen: dict[str, tuple[float, int]] = field(default_factory=dict)

    def lines(self, candidates: Sequence[Candidate]) -> list[int]:
        """Return the lines as reported. What came since was sent by this router, but not seen."""
        now: dict[str, tuple[float, int]] = {}
        for candidate in candidates:
            view = candidate.view
            seen = self._seen.get(view.id)
            if seen is None or seen[0] != view.reported_at:
                seen = (view.reported_at, candidate.waiting)
            now[view.id] = seen
        self._seen = now
        return [seen[1] for seen in now.values()]


def queue_scores(candidates: Sequence[Candidate], scrapes: Scrapes | None) -> list[float]:
    """Return 1 for the shortest waiting line, 0 for the longest, linear between; all 1 if equal.

    Without `scrapes` the lines are what the router counts itself.
    """
    if scrapes is None:
        lines = [candidate.waiting for candidate in candidates]
    else:
        lines = scrapes.lines(candidates)
    low, high = min(lines), max(lines)
    return [(high - line) / (high - low) if high > low else 1.0 for line in lines]


@ROUTING.register("llmd_load")
@dataclass(slots=True)
class LlmdLoad(OneByOne):
    """Choose the highest `queue_weight * queue score + kv_weight * (1 - KV memory in use)`.

    The queue score is 1 for the worker with the fewest waiting requests, 0 for that with the most.
    With `reported` it is the line that a worker had when it last reported, as the original sees it.

    Source: the load-scheduling profile of llm-d's published benchmark (queue-scorer and
    kv-cache-scorer, 1 each, max-score-picker). Cost: O(workers) per job. For comparison only.
    """

    queue_weight: float = 1.0
    kv_weight: float = 1.0
    reported: bool = False
    _scrapes: Scrapes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("llmd_load.queue_weight", self.queue_weight, 0.0, 1e6)
        check_number("llmd_load.kv_weight", self.kv_weight, 0.0, 1e6)
        self._scrapes = Scrapes() if self.reported else None

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        named = (candidate.view.id for candidate in candidates)
        scores = dict(zip(named, queue_scores(candidates, self._scrapes), strict=True))

        def cost(candidate: Candidate) -> float:
            memory = 1.0 - candidate.view.kv_used
            return -(self.queue_weight * scores[candidate.view.id] + self.kv_weight * memory)

        return put(job, cheapest(candidates, cost, self._random), 0)
