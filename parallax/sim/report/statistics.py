"""Statistics of a run and of several: percentiles, intervals, CDF points and time lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev

Point = tuple[float, float]

#: 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds, and half the width of its 95 % interval (None from a single seed)."""

    mean: float
    half: float | None
    count: int


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest of sorted values that `percent` % of them do not exceed (nearest rank).

    A whole number of per cent keeps the rank exact: 0.07 * 100 is more than 7 in floating point.
    Raises ValueError for no values or a percent outside 0..100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ValueError("a percentile needs values, and 0 <= percent <= 100")
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def interval(values: Sequence[float]) -> Interval:
    """Return the mean over independent runs with Student's 95 % interval.

    Means over runs are close to normal even where what is measured in a run is not; with the three
    to ten seeds that people use, a bootstrap would be too narrow.
    """
    if not values:
        raise ValueError("an interval needs values")
    count = len(values)
    if count == 1:
        return Interval(values[0], None, 1)
    return Interval(fmean(values), student_t(count - 1) * stdev(values) / sqrt(count), count)


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """Return how much larger ours are, seed by seed: a seed gives both the same jobs.

    None if they share no seed.
    """
    shared = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    return interval(shared) if shared else None


def told_apart(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    """Whether the 95 % interval of the differences leaves out 0; true if there are none."""
    found = difference(ours, theirs)
    return found is None or abs(found.mean) > (found.half or 0.0)


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    first = (_Z**3 + _Z) / (4 * freedom)
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
    return _Z + first + second  # of its expansion; right to 0.0001 from here on


def cdf(values: Iterable[float], steps: int = 100) -> list[Point]:
    """Return (value, share of values up to it) at the minimum and at every 1/steps of the way.

    The first share is that of one value, so the curve starts at what was seen, not at zero.
    """
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return []
    ranks = sorted({max(1, -(-step * count // steps)) for step in range(steps + 1)})
    return [(ordered[rank - 1], rank / count) for rank in ranks]


def nice_width(span: float, most: int) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that divides `span` in `most` parts."""
    if not (isfinite(span) and span > 0 and most > 0):
        raise ValueError("a span is a finite number above 0")
    least = span / most
    width = 1.0
    while width < least:
        width *= 10
    while width / 10 >= least:
        width /= 10
    return next((width * part for part in (0.2, 0.5) if width * part >= least), width)


def binned(
    points: Iterable[Point],
    width_s: float,
    end_s: float,
    summary: Callable[[list[float]], float],
    empty: float | None = None,
) -> list[Point]:
    """Return (start of bin, summary of the values in it); a bin without values is `empty`.

    None leaves such bins out. What happened after `end_s` belongs to the last bin.
    """
    count = max(1, -int(-end_s // width_s))
    bins: list[list[float]] = [[] for _ in range(count)]
    for at_s, value in points:
        bins[min(count - 1, int(at_s / width_s))].append(value)
    line = []
    for index, values in enumerate(bins):
        if values:
            line.append((index * width_s, summary(values)))
        elif empty is not None:
            line.append((index * width_s, empty))
    return line


def jain(amounts: Sequence[float]) -> float | None:
    """Return Jain's index: 1 if all got the same, 1/n if one got all; None if nobody got any."""
    squares = sum(amount * amount for amount in amounts)
    total = sum(amounts)
    return total * total / (len(amounts) * squares) if squares else None
