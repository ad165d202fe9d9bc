"""llm-d's precise profile: as the default one, told by the engines what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import JobView, Usage, check_number
from parallax.core.prefix import blocks_of
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.llmd_load import Scrapes, queue_scores
from parallax.policies.routing.rivals.scoring import Candidate, PrefixRouter, cheapest, put


@ROUTING.register("llmd_precise")
@dataclass(slots=True)
class LlmdPrecise(PrefixRouter):
    """Choose the highest weighted sum of the prefix, queue and memory scores, all blocks counted.

    The original hears from every engine which blocks it stores and evicts. Here the same is kept
    from dispatches and ends, within the memory that the worker reports. `reported` is as in
    `llmd_load`.

    Source: the precise-scheduling profile of llm-d's published benchmark (prefix 3, queue 2, KV
    memory 2, max-score-picker). Cost: O(blocks + workers) per job. For comparison only.
    """

    prefix_weight: float = 3.0
    queue_weight: float = 2.0
    kv_weight: float = 2.0
    reported: bool = False
    _scrapes: Scrapes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("prefix_weight", "queue_weight", "kv_weight"):
            check_number(f"llmd_precise.{name}", getattr(self, name), 0.0, 1e6)
        self._scrapes = Scrapes() if self.reported else None

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.answered(job, worker, usage)

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        held, blocks = self._known.blocks(job), len(blocks_of(job))
        pairs = zip(candidates, queue_scores(candidates, self._scrapes), strict=True)
        queues = {candidate.view.id: score for candidate, score in pairs}

        def cost(candidate: Candidate) -> float:
            view = candidate.view
            share = held.get(view.id, 0) / blocks if blocks else 0.0
            score = self.prefix_weight * share + self.queue_weight * queues[view.id]
            return -(score + self.kv_weight * (1.0 - view.kv_used))

        chosen = cheapest(candidates, cost, self._random)
        if chosen is None:
            return None
        view = chosen.view
        room = max(1, view.kv_capacity // job.prefix_block) if view.kv_capacity else 0
        self._known.enter(job, view.id, room)
        return put(job, chosen, min(held.get(view.id, 0) * job.prefix_block, job.prompt_tokens))
