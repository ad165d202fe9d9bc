"""AIBrix's prefix router: the longest match among those that are not too busy."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, pstdev

from parallax.core.model import JobView, check_int, check_number
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, Known, PrefixRouter, cheapest, put


@ROUTING.register("aibrix_prefix")
@dataclass(slots=True)
class AibrixPrefix(PrefixRouter):
    """Choose the longest match whose requests are at most the mean and `deviations` of it.

    If the numbers of requests differ by more than `imbalance`, the fewest decide; and so they do
    when no worker that matches is quiet enough.

    Source: vllm-project/aibrix, prefix_cache.go (imbalance 8, one standard deviation; its README
    says 16 and 2). Cost: O(blocks + workers) per job. For comparison only.
    """

    imbalance: int = 8
    deviations: float = 1.0
    blocks: int = 200_000

    def __post_init__(self) -> None:
        check_int("aibrix_prefix.imbalance", self.imbalance, 0, 10**6)
        check_number("aibrix_prefix.deviations", self.deviations, 0.0, 1e6)
        check_int("aibrix_prefix.blocks", self.blocks, 1, 10**9)
        self._known = Known(PrefixIndex(self.blocks))

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        held = self._known.blocks(job)
        loads = [candidate.running for candidate in candidates]
        chosen = None
        if max(loads) - min(loads) <= self.imbalance:
            most = fmean(loads) + self.deviations * pstdev(loads)
            quiet = [c for c in candidates if c.running <= most and held.get(c.view.id)]
            chosen = cheapest(quiet, lambda c: (-held[c.view.id], c.running), self._random)
        chosen = chosen or cheapest(candidates, lambda c: c.running, self._random)
        if chosen is None:
            return None
        self._known.enter(job, chosen.view.id)
        cached = held.get(chosen.view.id, 0) * job.prefix_block
        return put(job, chosen, min(cached, job.prompt_tokens))
