"""Quantiles of a list of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isnan


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that at least a share `q` of them do not exceed (nearest rank).

    An observed value is returned, never one between two: a p99 that nobody waited helps nobody.
    Raises ValueError for no values, NaN, or q outside 0..1. O(n log n).
    """
    if not values or not 0 <= q <= 1 or any(isnan(value) for value in values):
        raise ValueError("a quantile needs numbers, and 0 <= q <= 1")
    return sorted(values)[max(0, ceil(q * len(values)) - 1)]
