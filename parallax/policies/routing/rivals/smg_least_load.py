"""SMG's least-load router: seconds of prefill waiting, and a penalty for full memory."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, check_number
from parallax.policies.registry import ROUTING
from parallax.policies.routing.rivals.scoring import Candidate, OneByOne, cheapest, put


@ROUTING.register("smg_least_load")
@dataclass(slots=True)
class SmgLeastLoad(OneByOne):
    """Choose the smallest `waiting tokens / throughput + kv_penalty * k / (1 - k)`.

    k is the share of KV memory in use, at most 0.999; waiting tokens count what was sent since the
    last report, so that a burst does not go to one worker.

    Source: SMG 1.13, least_load (throughput 2,000 tokens/s unless measured, penalty 0.15). Cost:
    O(workers) per job. For comparison only.
    """

    throughput: float = 2_000.0  # tokens per second of a worker
    kv_penalty: float = 0.15  # seconds

    def __post_init__(self) -> None:
        check_number("smg_least_load.throughput", self.throughput, 1e-3, 1e9)
        check_number("smg_least_load.kv_penalty", self.kv_penalty, 0.0, 1e6)

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        return put(job, cheapest(candidates, self._score, self._random), 0)

    def _score(self, candidate: Candidate) -> float:
        k = min(candidate.view.kv_used, 0.999)
        return candidate.prefill_tokens / self.throughput + self.kv_penalty * k / (1.0 - k)
