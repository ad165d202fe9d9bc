"""A sketch of many durations: percentiles of a stated error, in little memory, that can be merged.

Values are counted in buckets that grow by 4 %, from 0.1 ms to a day; a percentile is the middle of
the bucket it lies in, so it is at most 2 % off (`ERROR`) within that range. What is shorter or
longer counts as the shortest or the longest. This is the DDSketch of Masson, Rim and Lee (VLDB'19)
with a fixed range, whose bucket is found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil, log, sqrt

#: Each bucket is so much longer than the one before; a percentile is at most so much off.
GROWTH = 1.04
ERROR = sqrt(GROWTH) - 1

#: The upper end of the first bucket, and of the last but one (seconds).
SHORTEST, LONGEST = 1e-4, 86_400.0

BOUNDS = tuple(SHORTEST * GROWTH**n for n in range(ceil(log(LONGEST / SHORTEST) / log(GROWTH)) + 1))

Pairs = Sequence[tuple[int, int]]


class Sketch:
    """Counts by bucket; only buckets that hold something take room, and there are some 530."""

    __slots__ = ("counts",)

    def __init__(self, pairs: Pairs = ()) -> None:
        """Begin with what `pairs` returned; what can be none of it is left out."""
        self.counts: dict[int, int] = {
            bucket: count for bucket, count in pairs if 0 <= bucket <= len(BOUNDS) and count > 0
        }

    def observe(self, seconds: float, count: int = 1) -> int:
        """Count a value, so many times; return its bucket. O(log buckets)."""
        bucket = bisect_left(BOUNDS, seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        return bucket

    def add(self, other: Sketch) -> None:
        """Count what another one has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def pairs(self) -> list[tuple[int, int]]:
        """Return (bucket, values in it), the shortest first."""
        return sorted(self.counts.items())

    def quantiles(self, shares: Iterable[float]) -> list[float | None]:
        """Return for each share the value that such a share does not exceed; None for no values."""
        rows, total = self.pairs(), self.count
        return [_at(rows, share * total) if total else None for share in shares]


def _at(rows: Pairs, rank: float) -> float:
    seen = 0
    for bucket, count in rows:
        seen += count
        if seen >= rank:
            return middle(bucket)
    return middle(rows[-1][0])


def middle(bucket: int) -> float:
    """Return what stands for the values of a bucket: the geometric mean of its ends."""
    if bucket == 0:
        return SHORTEST
    return BOUNDS[min(bucket, len(BOUNDS) - 1)] / sqrt(GROWTH)
