"""Keeps an autoscaler from oscillating: it scales down late and up in steps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stabilised:
    """Down only to the highest wish of the last `window_s`; up to twice as many, or 4 more."""

    window_s: float
    fewest: int
    most: int
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)  # falling, later ones lower

    def limited(self, wanted: int, workers: int, now: float) -> int:
        """Return how many to have now. O(1) amortised; memory is that of the window at most."""
        wishes = self._wishes
        while wishes and wishes[-1][1] <= wanted:
            wishes.pop()
        wishes.append((now, wanted))
        while wishes[0][0] < now - self.window_s:
            wishes.popleft()
        if wanted < workers:
            wanted = min(workers, wishes[0][1])
        elif wanted > workers:
            wanted = min(wanted, max(2 * workers, workers + 4))
        return max(self.fewest, min(self.most, wanted))
