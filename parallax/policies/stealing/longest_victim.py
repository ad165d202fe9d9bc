"""Stealing half of the longest line of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.model import WorkerView, check_int
from parallax.policies.registry import STEALING
from parallax.policies.stealing.victims import longest, victims


@STEALING.register("longest_victim")
@dataclass(slots=True)
class LongestVictim:
    """Take half of the waiting jobs of the sibling with the longest line.

    Source: work stealing with a full view (Mitzenmacher, TOCS 2001). Cost: O(workers). Use it when
    placement is poor, or when the lengths of answers are badly predicted.
    """

    threshold: int = 1  # jobs waiting, below which a sibling is left alone

    def __post_init__(self) -> None:
        check_int("longest_victim.threshold", self.threshold, 1, 10**6)

    def choose(
        self, thief: WorkerView, siblings: Sequence[WorkerView], now: float
    ) -> tuple[str, int] | None:
        """See `interfaces.StealingPolicy`."""
        return longest(victims(thief, siblings, self.threshold))

    def worth(self, wait_s: float, cached_there: int, cached_here: int) -> bool:
        """See `interfaces.StealingPolicy`: any job is worth it."""
        return True
