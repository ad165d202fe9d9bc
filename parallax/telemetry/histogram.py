"""A histogram that is cheap to observe: it is asked several times for every job.

`prometheus_client.Histogram` takes a lock and walks its buckets for each observation, about 2 us;
four of them a job were an eighth of the scheduler's time. This one has a single writer, finds the
bucket by bisection, and makes the exposition's cumulative counts only when it is scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Buckets:
    """The counts of one series. One thread observes; others may read."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value. O(log buckets)."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Return (upper bound, observations up to it) for each bucket, and the sum."""
        total, rows = 0, []
        for bound, count in zip((*self._bounds, inf), list(self._counts), strict=True):
            total += count
            rows.append(("+Inf" if bound == inf else repr(float(bound)), float(total)))
        return rows, self._sum


class Histogram(Collector):
    """One metric with all its series; without labels it has exactly one from the start."""

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name, self._meaning = name, meaning
        self._labels, self._bounds = tuple(labels), tuple(bounds)
        self._series: dict[tuple[str, ...], Buckets] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Buckets:
        """Return the series with these label values; raises ValueError for a wrong number."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}, not {values}")
        return self._series.setdefault(values, Buckets(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what Prometheus scrapes."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, buckets in list(self._series.items()):
            family.add_metric(values, *buckets.cumulative())
        yield family

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the name only; the registry uses it to find two metrics of one name."""
        yield HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
