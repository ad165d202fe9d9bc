"""What is drawn of a load in real time (`--plot`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from parallax.core.lifecycle import Outcome
from parallax.producers.load.drive import Run, Sample
from parallax.sim.report.statistics import Point, binned, cdf, nice_width, percentile
from parallax.sim.report.svg import Series, cdf_chart, line_chart

#: Most tenants with a line of their own, and most steps of a time line.
MOST_TENANTS, BINS = 6, 60


def live_charts(run: Run) -> list[str]:
    """Return charts of a run in real time; tenants that sent most have lines of their own."""
    samples = list(run.samples.values())
    groups = _by_tenant(samples)
    charts = []
    for name, title in (("ttft", "Time to first token"), ("e2e", "Time to the last token"),
                        ("wait", "Time in the queue")):  # fmt: skip
        series = [
            Series(tenant, cdf(_values(own, name))) for tenant, own in groups if _values(own, name)
        ]
        if series:
            charts.append(cdf_chart(title, "seconds", series))
    return [*charts, *_lines(run, samples)]


def _by_tenant(samples: Sequence[Sample]) -> list[tuple[str, list[Sample]]]:
    counts = Counter(sample.tenant for sample in samples)
    named = [tenant for tenant, _ in counts.most_common(MOST_TENANTS)]
    groups = [(tenant, [s for s in samples if s.tenant == tenant]) for tenant in sorted(named)]
    others = [sample for sample in samples if sample.tenant not in named]
    return [*groups, (f"{len(counts) - len(named)} others", others)] if others else groups


def _values(samples: Iterable[Sample], name: str) -> list[float]:
    found = (getattr(s, name) for s in samples if s.outcome is Outcome.COMPLETED)
    return [value for value in found if value is not None]


def _lines(run: Run, samples: Sequence[Sample]) -> list[str]:
    end_s = max(run.ended_s, run.offered_s)
    if end_s <= 0:
        return []
    width_s = nice_width(end_s, BINS)

    def rate(times: Iterable[float]) -> list[Point]:
        return binned(((at, 1.0 / width_s) for at in times), width_s, end_s, sum, 0.0)

    ended = [s.ended for s in samples if s.outcome is Outcome.COMPLETED and s.ended is not None]
    lost = [s.due for s in samples if s.refused or s.outcome not in (None, Outcome.COMPLETED)]
    rates = [Series("offered", rate(s.due for s in samples)), Series("completed", rate(ended))]
    if lost:
        rates.append(Series("refused, or ended otherwise", rate(lost)))
    late = [(s.due, s.ttft) for s in samples if s.ttft is not None]
    p95 = binned(late, width_s, end_s, lambda some: percentile(sorted(some), 95))
    moves = sorted([(s.due, 1) for s in samples if not s.refused] + [(at, -1) for at in ended])
    late_line = [Series("all", p95)]
    open_line = [Series("all", _open(moves, width_s, end_s))]
    return [
        line_chart("Goodput against load", "seconds", "jobs/s", rates),
        line_chart("Time to first token, p95 by arrival", "seconds", "seconds", late_line),
        line_chart("Jobs open, peak", "seconds", "jobs", open_line),
    ]


def _open(moves: Iterable[tuple[float, int]], width_s: float, end_s: float) -> list[Point]:
    points, count = [(0.0, 0.0)], 0
    for at, change in moves:
        count += change
        points.append((at, float(count)))
    return binned(points, width_s, end_s, max)
