"""NVIDIA Dynamo's KV router: blocks to compute plus blocks to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView, Usage, check_int, check_number
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, Known, candidates_of, cheapest, put


@ROUTING.register("dynamo_kv")
@dataclass(slots=True)
class DynamoKv:
    """Choose the smallest `prefill_scale * (prefill blocks - credit * overlap) + decode blocks`.

    Prefill blocks are those waiting at the worker and the prompt's own; overlap is what it holds of
    the prompt; decode blocks are the contexts that it reads at every step.

    Source: ai-dynamo/dynamo, kv-router selector (scale 1, device credit 1, temperature 0, ties by
    lot; blocks of 64 tokens). Cost: O(blocks + workers) per job. For comparison only.
    """

    prefill_scale: float = 1.0
    credit: float = 1.0
    block: int = 64  # tokens
    _known: Known = field(default_factory=lambda: Known(PrefixIndex(10**8)), init=False, repr=False)
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("dynamo_kv.prefill_scale", self.prefill_scale, 0.0, 1e6)
        check_number("dynamo_kv.credit", self.credit, 0.0, 1e6)
        check_int("dynamo_kv.block", self.block, 1, 65_536)

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        candidates = candidates_of(cluster)
        return [self._routed(job, candidates) for job in jobs]

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.answered(job, worker, usage)

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.index.forget(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        return self._known.tokens(job, worker)

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
