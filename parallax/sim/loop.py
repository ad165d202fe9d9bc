"""Virtual time: callbacks in the order of their times. A heap stands in for the clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from typing import Any

Callback = Callable[[Any], None]


class Loop:
    """The time in milliseconds, and what will happen. Of one time, the first added runs first."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._heap: list[tuple[float, int, Callback, Any]] = []
        self._serial = 0

    def at(self, at_ms: float, callback: Callback, argument: Any = None) -> None:
        """Call `callback(argument)` at a time; at once, if it is past."""
        self._serial += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._serial, callback, argument))

    def next_ms(self) -> float:
        """Return when the next callback is due; infinity if there is none."""
        return self._heap[0][0] if self._heap else inf

    def step(self) -> None:
        """Let time pass to the next callback, and call it."""
        self.now_ms, _, callback, argument = heapq.heappop(self._heap)
        callback(argument)
