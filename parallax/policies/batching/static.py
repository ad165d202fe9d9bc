"""Static batching: a batch runs to its end before the next one begins. A control."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import BatchView, check_int, check_number
from parallax.policies.registry import BATCHING


@BATCHING.register("static")
@dataclass(slots=True)
class Static:
    """Start with `size` jobs, or with the waiting ones after `window_s`; let nobody join.

    The batch lasts as long as its longest answer: of b exponential lengths only 1 / H_b of the
    places is used (16: 30 %).

    Source: what engines did before Orca (OSDI'22). Cost: O(1). Use it to see what `continuous`
    gains.
    """

    size: int = 16
    window_s: float = 1.0

    def __post_init__(self) -> None:
        check_int("static.size", self.size, 1, 10**6)
        check_number("static.window_s", self.window_s, 0.0, 3_600.0)

    def take(self, view: BatchView) -> int:
        """See `interfaces.BatchingPolicy`."""
        if view.running:
            return 0
        full = view.waiting >= min(self.size, view.places)
        if full or view.oldest_wait_s >= self.window_s:
            return min(view.waiting, view.places, self.size)
        return 0

    def wake_s(self, view: BatchView) -> float | None:
        """See `interfaces.BatchingPolicy`."""
        return None if view.running else max(0.0, self.window_s - view.oldest_wait_s)
