"""Attempts that failed and may be tried again: each rests before it is handed back.

It rests here, in the memory of the worker that failed, and its entry stays in the worker's stream:
a worker that fails much is so given less, and one that dies loses nothing. Other workers may take
the job meanwhile (a hedge), and a cancelled one is let go at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from parallax.broker.store.attempts import Attempt, Finish


class Resting:
    """Failed attempts until they are due. Bounded by the length of the worker's stream.

    The n-th attempt of a job rests for a random time up to `base_s` * 2^(n-1), at most `cap_s`
    ("full jitter": what failed together is not tried again together).
    """

    def __init__(self, base_s: float, cap_s: float, random: Random) -> None:
        self._base_s, self._cap_s, self._random = base_s, cap_s, random
        self._heap: list[tuple[float, int, Finish]] = []
        self._added = 0  # breaks ties: a Finish has no order

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, finish: Finish, now: float) -> None:
        """Let a failed attempt rest from `now` (monotonic seconds). O(log n)."""
        attempt = int(finish.attempt.assignment.attempt)
        most = min(self._cap_s, self._base_s * 2.0 ** min(attempt - 1, 60))
        self._added += 1
        heapq.heappush(self._heap, (now + self._random.uniform(0, most), self._added, finish))

    def attempts(self) -> list[Attempt]:
        """Return what rests."""
        return [finish.attempt for _, _, finish in self._heap]

    def due(self, now: float) -> list[Finish]:
        """Take out the attempts that have rested long enough."""
        ready = []
        while self._heap and self._heap[0][0] <= now:
            ready.append(heapq.heappop(self._heap)[2])
        return ready

    def next_due(self) -> float | None:
        """Return when the next one is; None if nothing rests."""
        return self._heap[0][0] if self._heap else None

    def release(self, which: Callable[[Finish], bool] = lambda _: True) -> list[Finish]:
        """Take out at once what `which` says, or all. O(n)."""
        freed = [entry[2] for entry in self._heap if which(entry[2])]
        self._heap = [entry for entry in self._heap if not which(entry[2])]
        heapq.heapify(self._heap)
        return freed
