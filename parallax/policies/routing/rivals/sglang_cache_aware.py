"""SGLang's cache-aware router: the longest match, unless the fleet is out of balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.model import JobView, check_int, check_number
from parallax.core.prefix import blocks_of
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, Known, PrefixRouter, cheapest, put


@ROUTING.register("sglang_cache_aware")
@dataclass(slots=True)
class SglangCacheAware(PrefixRouter):
    """Choose the longest match if it is long enough, else the fewest requests.

    If the most loaded worker has over `balance_abs` requests more than the least loaded one, and
    over `balance_rel` times as many, the fewest requests decide at once and locality is forgotten.
    Otherwise the worker with the longest match gets the job if more than `cache_threshold` of the
    prompt matches.

    Source: sglang-router 0.3.2 (router_args.py: 0.3, 64, 1.5; its tree holds 2**26 characters).
    Cost: O(blocks + workers) per job. For comparison only.
    """

    cache_threshold: float = 0.3
    balance_abs: int = 64
    balance_rel: float = 1.5
    tree_blocks: int = 1_048_576  # 2**26 characters, 4 to a token, 16 tokens to a block

    def __post_init__(self) -> None:
        check_number("sglang_cache_aware.cache_threshold", self.cache_threshold, 0.0, 1.0)
        check_int("sglang_cache_aware.balance_abs", self.balance_abs, 0, 10**6)
        check_number("sglang_cache_aware.balance_rel", self.balance_rel, 0.0, 1e6)
        check_int("sglang_cache_aware.tree_blocks", self.tree_blocks, 1, 10**9)
        self._known = Known(PrefixIndex(self.tree_blocks))

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        held, blocks = self._known.blocks(job), len(blocks_of(job))

        def matched(candidate: Candidate) -> float:
            return held.get(candidate.view.id, 0) / blocks if blocks else 0.0

        def requests(candidate: Candidate) -> float:
            return candidate.running

        chosen = None
        if not self._unbalanced(candidates):
            chosen = cheapest(candidates, lambda c: -matched(c), self._random)
            if chosen is not None and matched(chosen) <= self.cache_threshold:
                chosen = None
        chosen = chosen or cheapest(candidates, requests, self._random)
        if chosen is None:
            return None
        self._known.enter(job, chosen.view.id)
        cached = held.get(chosen.view.id, 0) * job.prefix_block
        return put(job, chosen, min(cached, job.prompt_tokens))

    def _unbalanced(self, candidates: Sequence[Candidate]) -> bool:
        loads = [candidate.running for candidate in candidates]
        most, least = max(loads), min(loads)
        return most - least > self.balance_abs and most > self.balance_rel * least
