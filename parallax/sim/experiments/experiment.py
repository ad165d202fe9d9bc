"""Defines an experiment: cases measured with several seeds, and the results that must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from parallax.sim.report.statistics import Interval, interval
from parallax.sim.report.svg import Series

#: The varied parameters: plain values, so that a case can be sent to another process and stored.
Case = tuple[str | int | float | bool, ...]
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """A number that an experiment has found, and the bounds within which it was expected."""

    what: str
    value: float
    low: float = -inf
    high: float = inf

    @property
    def holds(self) -> bool:
        """Whether it is within its bounds; NaN is not."""
        return self.low <= self.value <= self.high

    @property
    def bounds(self) -> str:
        """The bounds as people write them."""
        if self.low == -inf:
            return f"≤ {self.high:.4g}"
        return f"≥ {self.low:.4g}" if self.high == inf else f"{self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the page: lines over numbers."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; numbers are shown with three digits."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The results of an experiment."""

    findings: Sequence[Finding]
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()

    @property
    def holds(self) -> bool:
        """Whether every finding is as expected."""
        return all(finding.holds for finding in self.findings)


@dataclass(slots=True)
class Measured:
    """The figures of every case, one for each seed. All policies of a seed see the same jobs."""

    by_case: dict[Case, list[Figures]] = field(default_factory=dict)

    def add(self, case: Case, figures: Figures) -> None:
        """Note what one seed gave; seeds come in their order."""
        self.by_case.setdefault(case, []).append(figures)

    def interval(self, *case: str | float, of: str) -> Interval:
        """Return the mean of a figure over the seeds, with its 95 % interval."""
        return interval([figures[of] for figures in self.by_case[case]])

    def mean(self, *case: str | float, of: str = "mean_s") -> float:
        """Return the mean of a figure over the seeds; raises KeyError for an unknown case."""
        return self.interval(*case, of=of).mean

    def worst(self, *case: str | float, of: str) -> float:
        """Return the largest of a figure over the seeds."""
        return max(figures[of] for figures in self.by_case[case])


@dataclass(frozen=True, slots=True)
class Experiment:
    """A question, the measurements that answer it, and the expected answer.

    `measure(case, seed)` is called for every case and seed, in any process and any order;
    `judge` turns all that was measured into findings, charts and tables. The texts are Markdown.
    """

    name: str
    title: str
    question: str
    setup: str
    theory: str
    practice: str
    cases: Sequence[Case]
    measure: Callable[[Case, int], Figures]
    judge: Callable[[Measured], Verdict]
    seeds: int = 5
