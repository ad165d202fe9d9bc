"""llm-d's default profile: prefix, queue and memory scores, the prefix estimated by the router."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import JobView, check_int, check_number
from parallax.core.prefix import blocks_of
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.llmd_load import Scrapes, queue_scores
from parallax.policies.routing.rivals.scoring import Candidate, Known, PrefixRouter, cheapest, put


@ROUTING.register("llmd_default")
@dataclass(slots=True)
class LlmdDefault(PrefixRouter):
    """Choose the highest weighted sum of the prefix, queue and memory scores.

    The prefix score is the share of the prompt's first `match_blocks` blocks that the router has
    sent to the worker before, in a list of `lru_blocks` blocks per worker that knows nothing of
    what the worker has evicted. `reported` is as in `llmd_load`.

    Source: the estimated-scheduling profile of llm-d's published benchmark, which is the default of
    the Kubernetes inference gateway (maxPrefixBlocksToMatch 256, lruCapacityPerServer 31,250, all
    weights 1, max-score-picker). Cost: O(blocks + workers) per job. For comparison only.
    """

    prefix_weight: float = 1.0
    queue_weight: float = 1.0
    kv_weight: float = 1.0
    match_blocks: int = 256
    lru_blocks: int = 31_250
    reported: bool = False
    _scrapes: Scrapes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("prefix_weight", "queue_weight", "kv_weight"):
            check_number(f"llmd_default.{name}", getattr(self, name), 0.0, 1e6)
        check_int("llmd_default.match_blocks", self.match_blocks, 1, 10**7)
        check_int("llmd_default.lru_blocks", self.lru_blocks, 1, 10**9)
        self._known = Known(PrefixIndex(self.lru_blocks))
        self._scrapes = Scrapes() if self.reported else None

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        names = blocks_of(job)[: self.match_blocks]
        held = self._known.index.matches(names) if names else {}
        pairs = zip(candidates, queue_scores(candidates, self._scrapes), strict=True)
        queues = {candidate.view.id: score for candidate, score in pairs}

        def cost(candidate: Candidate) -> float:
            view = candidate.view
            share = held.get(view.id, 0) / len(names) if names else 0.0
            score = self.prefix_weight * share + self.queue_weight * queues[view.id]
            return -(score + self.kv_weight * (1.0 - view.kv_used))

        chosen = cheapest(candidates, cost, self._random)
        if chosen is not None:
            cached = held.get(chosen.view.id, 0) * job.prefix_block
            self._known.index.insert(names, chosen.view.id)
            return put(job, chosen, min(cached, job.prompt_tokens))
        return None
