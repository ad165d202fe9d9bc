"""Holding back by tokens: a worker is given more prompts only when it has few left to compute."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import WorkerView, check_int
from parallax.policies.registry import GATE


@GATE.register("tokens")
@dataclass(slots=True)
class Tokens:
    """At most `slots + prefetch` attempts per worker, and none while `prompts` tokens wait there.

    An engine has many more slots than it can prefill at once. So short of overload every job finds
    a slot as it comes, nothing waits in the queue, and fairness and order decide nothing: what
    waits for its first token waits in the engine, first come, first served. With this gate all but
    about `prompts` uncached tokens stay in the queue, where they are still ordered. A worker for
    which none wait is always given one prompt, however long.

    A good size is a step or two of prefill (a `token_budget`): less leaves engines idle for a round
    trip, more gives away what was to be gained. In seconds of the worst wait in the engine it is
    `prompts` over the tokens it prefills a second.

    Source: the prefill limit of token-aware admission (Sarathi-Serve, OSDI'24), before the engine
    instead of within. Cost: O(1). Use it when a tenant's burst of long prompts delays the first
    tokens of others on engines that have free slots.
    """

    prompts: int = 2_048  # uncached prompt tokens that may wait at a worker
    prefetch: int = 1  # attempts beyond the running ones

    def __post_init__(self) -> None:
        check_int("tokens.prompts", self.prompts, 1, 10**9)
        check_int("tokens.prefetch", self.prefetch, 0, 1_000_000)

    def free(self, worker: WorkerView) -> int:
        """See `interfaces.DispatchGate`: one at a time, since each changes what waits."""
        if worker.draining or worker.in_flight >= worker.slots + self.prefetch:
            return 0
        waiting = worker.in_flight - worker.decoding
        return 0 if waiting > 0 and worker.prefill_tokens >= self.prompts else 1
