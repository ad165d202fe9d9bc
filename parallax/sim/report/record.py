"""The record of a run: all that reports and comparisons need, without the jobs themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import fmean
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.sim.outcome import Run
from parallax.sim.report.figures import LATENCIES, completed, figures, latency, per_tenant
from parallax.sim.report.statistics import Point, binned, cdf, nice_width, percentile

FORMAT = "parallax-run/1"
BINS = 60  # of a time line, at most

Record = dict[str, Any]


def record(run: Run, provenance: Mapping[str, object]) -> Record:
    """Return a run as JSON values."""
    return {
        "format": FORMAT,
        "spec": run.spec,
        "figures": figures(run),
        "tenants": per_tenant(run),
        "cdfs": cdfs(run),
        "timelines": timelines(run),
        "notes": run.notes,
        "provenance": dict(provenance),
    }


def cdfs(run: Run) -> dict[str, list[Point]]:
    """Return the distribution of each latency over the completed jobs."""
    done = completed(run.jobs)
    drawn = {}
    for name in LATENCIES:
        values = (latency(job, name) for job in done)
        drawn[name] = cdf(value for value in values if isfinite(value))
    return drawn


def timelines(run: Run) -> dict[str, list[Point]]:
    """Return how the run went, in at most `BINS` steps. Queues show the peak of each step."""
    end_s = run.duration_s
    if not end_s > 0:
        return {}
    width_s = nice_width(end_s, BINS)
    done = completed(run.jobs)

    def rate(times: list[float]) -> list[Point]:
        points = ((at_s, 1.0 / width_s) for at_s in times if isfinite(at_s))
        return binned(points, width_s, end_s, sum, 0.0)

    def sampled(name: str, summary: Any) -> list[Point]:
        points = ((sample.at_s, float(getattr(sample, name))) for sample in run.samples)
        return binned(points, width_s, end_s, summary)

    late = ((job.arrival_s, job.ttft_s * 1000) for job in done if isfinite(job.ttft_s))
    return {
        "arrivals_per_s": rate([job.arrival_s for job in run.jobs]),
        "completed_per_s": rate([job.finished_s for job in done]),
        "ttft_ms_p95": binned(late, width_s, end_s, lambda some: percentile(sorted(some), 95)),
        "queued": sampled("queued", max),
        "in_flight": sampled("in_flight", max),
        "workers": sampled("workers", min),
        "kv_used": sampled("kv_used", fmean),
    }


def checked(document: object, where: str) -> Record:
    """Return a record that was read from a file; raises InvalidInput if it is none.

    A file may come from anywhere: what is drawn must be numbers, what is written must be text.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidInput(where, _format(document), f"a run's record of format {FORMAT}")
    right = (
        all(isinstance(document.get(name), dict) for name in ("spec", "figures", "provenance"))
        and all(value is None or _number(value) for value in document["figures"].values())
        and _table(document.get("tenants"))
        and _curves(document.get("cdfs"))
        and _curves(document.get("timelines"))
        and isinstance(document.get("notes"), list)
        and type(document["spec"].get("seed", 0)) is int
    )
    if not right:
        raise InvalidInput(where, FORMAT, "a whole record; this one is damaged")
    return document


def _format(document: object) -> object:
    return document.get("format") if isinstance(document, dict) else document


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _table(rows: object) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and all(value is None or isinstance(value, str) or _number(value) for value in row.values())
        for row in rows
    )


def _curves(curves: object) -> bool:
    return isinstance(curves, dict) and all(
        isinstance(points, list)
        and all(
            isinstance(point, list | tuple) and len(point) == 2 and all(map(_number, point))
            for point in points
        )
        for points in curves.values()
    )
