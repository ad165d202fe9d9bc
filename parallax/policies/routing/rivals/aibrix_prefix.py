"""AIBrix's prefix router: the longest match among those that are not too busy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean, pstdev

from parallax.core.model import ClusterView, JobView, Usage, check_int, check_number
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, Known, candidates_of, cheapest, put


@ROUTING.register("aibrix_prefix")
@dataclass(slots=True)
class AibrixPrefix:
    """Choose the longest match whose requests are at most the mean and `deviations` of it.

    If the numbers of requests differ by more than `imbalance`, the fewest decide; and so they do
    when no worker that matches is quiet enough.

    Source: vllm-project/aibrix, prefix_cache.go (imbalance 8, one standard deviation; its README
    says 16 and 2). Cost: O(blocks + workers) per job. For comparison only.
    """

    imbalance: int = 8
    deviations: float = 1.0
    blocks: int = 200_000
    _known: Known = field(init=False, repr=False)
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_int("aibrix_prefix.imbalance", self.imbalance, 0, 10**6)
        check_number("aibrix_prefix.deviations", self.deviations, 0.0, 1e6)
        check_int("aibrix_prefix.blocks", self.blocks, 1, 10**9)
        self._known = Known(PrefixIndex(self.blocks))

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        candidates = candidates_of(cluster)
        return [self._routed(job, candidates) if candidates else None for job in jobs]

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`: this router does not hear of ends."""

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.index.forget(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        return self._known.tokens(job, worker)

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
