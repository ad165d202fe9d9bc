"""NVIDIA Dynamo's KV router: blocks to compute plus blocks to read."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, Usage, check_int, check_number
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, PrefixRouter, cheapest, put


@ROUTING.register("dynamo_kv")
@dataclass(slots=True)
class DynamoKv(PrefixRouter):
    """Choose the smallest `prefill_scale * (prefill blocks - credit * overlap) + decode blocks`.

    Prefill blocks are those waiting at the worker and the prompt's own; overlap is what it holds of
    the prompt; decode blocks are the contexts that it reads at every step.

    Source: ai-dynamo/dynamo, kv-router selector (scale 1, device credit 1, temperature 0, ties by
    lot; blocks of 64 tokens). Cost: O(blocks + workers) per job. For comparison only.
    """

    prefill_scale: float = 1.0
    credit: float = 1.0
    block: int = 64  # tokens

    def __post_init__(self) -> None:
        check_number("dynamo_kv.prefill_scale", self.prefill_scale, 0.0, 1e6)
        check_number("dynamo_kv.credit", self.credit, 0.0, 1e6)
        check_int("dynamo_kv.block", self.block, 1, 65_536)

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.answered(job, worker, usage)

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        held = self._known.blocks(job)

        def cost(candidate: Candidate) -> float:
            view = candidate.view
            overlap = held.get(view.id, 0) * job.prefix_block
            waiting = candidate.prefill_tokens + job.prompt_tokens - self.credit * overlap
            decoded = max(0.0, view.kv_tokens - view.prefill_tokens)
            return (self.prefill_scale * max(0.0, waiting) + decoded) / self.block

        chosen = cheapest(candidates, cost, self._random)
        if chosen is None:
            return None
        view = chosen.view
        room = max(1, view.kv_capacity // job.prefix_block) if view.kv_capacity else 0
        self._known.enter(job, view.id, room)
        return put(job, chosen, min(held.get(view.id, 0) * job.prefix_block, job.prompt_tokens))
