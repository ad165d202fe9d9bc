"""A gauge of which all series are told anew again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge


class Published:
    """The series of a gauge with one label. A series that is not set any more disappears.

    A series that stays is never gone in between, as it would be if all were cleared first: a scrape
    may come at any moment.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[str] = set()

    def show(self, values: Mapping[str, float]) -> None:
        """Show these values and no others."""
        for label, value in values.items():
            self._gauge.labels(label).set(value)
        for label in self._shown - values.keys():
            self._gauge.remove(label)
        self._shown = set(values)


class Risen:
    """A counter of a total that somebody else keeps, such as one that stands in Redis.

    A total that is smaller than before was begun anew.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter, self._last = counter, 0.0

    def to(self, total: float) -> None:
        """Add what the total has risen by since the last call."""
        self._counter.inc(total - self._last if total >= self._last else total)
        self._last = total


def first(values: Mapping[str, float], most: int) -> dict[str, float]:
    """Return at most so many of the values, by name: labels stay few whatever registers."""
    kept: Iterable[str] = values if len(values) <= most else sorted(values)[:most]
    return {name: values[name] for name in kept}
