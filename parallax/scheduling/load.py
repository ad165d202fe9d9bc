"""How much work comes in and how much a worker does: what scaling decides by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_BUCKET_S = 1.0
_KEPT_S = 60.0


@dataclass(slots=True)
class LoadMeter:
    """Offered cost per second over the last minute, and cost served per second of a worker.

    Arrivals are counted in buckets of a second, whether they are let in or not: what is refused is
    demand too. Memory is that of sixty buckets. O(1) per arrival.
    """

    _buckets: deque[tuple[float, float]] = field(default_factory=deque)
    _served_cost: float = 0.0
    _served_s: float = 0.0
    _began: float | None = None

    def offered(self, cost: float, now: float) -> None:
        """A job of that cost came in."""
        self._began = now if self._began is None else self._began
        start = now - now % _BUCKET_S
        if self._buckets and self._buckets[-1][0] == start:
            cost += self._buckets.pop()[1]
        self._buckets.append((start, cost))
        while self._buckets[0][0] < now - _KEPT_S - _BUCKET_S:
            self._buckets.popleft()

    def served(self, cost: float, busy_s: float) -> None:
        """So much was served in so many seconds of one worker's work; older news fades."""
        keep = 0.5 ** (busy_s / 300.0)
        self._served_cost = self._served_cost * keep + cost
        self._served_s = self._served_s * keep + busy_s

    def rate(self, now: float, over_s: float) -> float:
        """Return the offered cost per second over the last so many seconds (at most 60)."""
        if self._began is None:
            return 0.0
        span = max(min(over_s, now - self._began), _BUCKET_S)
        return sum(cost for start, cost in self._buckets if start > now - span) / span

    @property
    def per_worker(self) -> float:
        """What a worker serves per second of work, in cost; 0 until it is known."""
        return self._served_cost / self._served_s if self._served_s > 0 else 0.0
