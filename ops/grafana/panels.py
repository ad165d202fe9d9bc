"""The parts of a dashboard, drawn by Grafana or as pictures in the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What every query of a process's own metrics is narrowed by.
CHOSEN = 'job=~"$job",instance=~"$instance"'
#: The same for metrics of tenants.
TENANT = f'{CHOSEN},tenant=~"$tenant"'
#: Columns of a row, and the height of a panel and of a number (Grafana's units).
WIDTH, HEIGHT, LOW = 24, 8, 4
#: Unit of ours -> Grafana's name for it.
UNITS = {
    "seconds": "s", "bytes": "bytes", "ratio": "percentunit", "count": "short",
    "per second": "reqps", "tokens per second": "short", "cost per second": "short",
    "cores": "short", "yes": "bool_yes_no",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the legend of each series that it gives."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: lines over time, or one number now."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    number: bool = False
    width: int = 8
    most: float | None = None  # top of the axis, where it is known
    rare: bool = False  # there may be nothing to show, as while no canary runs
    optional: bool = False  # it is of a process that not everybody runs
    red: float | None = None  # a number from here on is bad
    low_is_bad: bool = False  # and one below it, instead

    @property
    def height(self) -> int:
        """Its height in Grafana's units."""
        return LOW if self.number else HEIGHT


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for row in self.rows for panel in row.panels]


def lines(title: str, about: str, unit: str, *queries: tuple[str, str], width: int = 8,
          most: float | None = None, rare: bool = False,
          optional: bool = False) -> Panel:  # fmt: skip
    """Return a panel of lines; each query is (expression, legend)."""
    asked = [Query(expr, legend) for expr, legend in queries]
    return Panel(title, about, unit, asked, width=width, most=most, rare=rare,
                 optional=optional)  # fmt: skip


def number(title: str, about: str, unit: str, expr: str, *, red: float | None = None,
           low_is_bad: bool = False) -> Panel:  # fmt: skip
    """Return a panel of one number."""
    return Panel(title, about, unit, [Query(expr)], number=True, width=4, red=red,
                 low_is_bad=low_is_bad)  # fmt: skip


def rate(name: str, by: str = "", chosen: str = CHOSEN) -> str:
    """Return the rate of a counter, summed up by labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate(parallax_{name}{{{chosen}}}[$__rate_interval]))"


def percentile(name: str, percent: int, chosen: str = CHOSEN) -> str:
    """Return a percentile of a histogram."""
    buckets = rate(f"{name}_bucket", "le", chosen)
    return f"histogram_quantile({percent / 100:g}, {buckets})"


def now(name: str, how: str = "sum", by: str = "", chosen: str = CHOSEN) -> str:
    """Return a gauge, taken together by labels."""
    grouped = f" by ({by})" if by else ""
    head, comma, more = name.partition(",")
    return f"{how}{grouped} (parallax_{head}{{{chosen}{comma}{more}}})"


def percentiles(name: str, chosen: str = CHOSEN) -> tuple[tuple[str, str], ...]:
    """Return the queries of the usual percentiles of a histogram."""
    return tuple((percentile(name, percent, chosen), f"p{percent}") for percent in (50, 95, 99))


def share(part: str, whole: str) -> str:
    """Return a part of a whole; 0 where there is no whole."""
    return f"({part}) / clamp_min({whole}, 1e-9)"
