"""Stealing only what gains by it: the wait saved against the cache left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.model import WorkerView, check_int, check_number
from parallax.policies.registry import STEALING
from parallax.policies.stealing.victims import longest, victims


@STEALING.register("affinity_gain")
@dataclass(slots=True)
class AffinityGain:
    """Take half of the longest line, but no job whose cache hits are worth more than its wait.

    A job gains `wait - s_per_token * (tokens cached there - tokens cached here) - move_s`.

    Source: Llumnix (OSDI'24) moves only what gains by it. Cost: O(workers), and a look at the index
    for each job. Use it beside `kv_locality`: plain stealing destroys the hits it has arranged.
    """

    s_per_token: float = 0.0001  # of prefill that a miss costs
    move_s: float = 0.002  # what moving a job costs
    threshold: int = 1  # jobs waiting, below which a sibling is left alone

    def __post_init__(self) -> None:
        check_number("affinity_gain.s_per_token", self.s_per_token, 0.0, 10.0)
        check_number("affinity_gain.move_s", self.move_s, 0.0, 3_600.0)
        check_int("affinity_gain.threshold", self.threshold, 1, 10**6)

    def choose(
        self, thief: WorkerView, siblings: Sequence[WorkerView], now: float
    ) -> tuple[str, int] | None:
        """See `interfaces.StealingPolicy`."""
        return longest(victims(thief, siblings, self.threshold))

    def worth(self, wait_s: float, cached_there: int, cached_here: int) -> bool:
        """See `interfaces.StealingPolicy`."""
        return wait_s - self.s_per_token * (cached_there - cached_here) - self.move_s > 0
