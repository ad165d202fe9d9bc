"""What is drawn of runs: the same charts for a report, and for a picture of their own."""

from __future__ import annotations

from collections.abc import Sequence

from parallax.sim.report.svg import Series, bar_chart, cdf_chart, line_chart
from parallax.sim.report.variants import Variant, flattened

_CDFS = {
    "ttft_ms": "Time to first token",
    "tpot_ms": "Time per output token",
    "e2e_ms": "Time to the last token",
    "queue_ms": "Time in the queue",
}
_LINES = {
    "arrivals_per_s": ("Arrivals", "jobs/s"),
    "completed_per_s": ("Completions", "jobs/s"),
    "ttft_ms_p95": ("Time to first token, p95 by arrival", "ms"),
    "queued": ("Jobs queued, peak", "jobs"),
    "in_flight": ("Jobs in flight, peak", "jobs"),
    "workers": ("Workers", "workers"),
    "kv_used": ("KV memory in use", "share"),
}
#: What is told of each load, where runs differ in it.
_LOADED = {
    "goodput": ("Goodput against load", "share of offered jobs"),
    "goodput_per_s": ("Goodput against load", "good jobs/s"),
    "ttft_ms_p95": ("Time to first token against load, p95", "ms"),
}
#: The part of a spec that makes arrivals faster.
_RATE = "rate_scale"


def bars(found: Sequence[Variant], *, themed: bool = False) -> list[str]:
    """Return the goodput of variants, if there are several."""
    intervals = [(variant.name, variant.interval("goodput")) for variant in found]
    known = [(name, value) for name, value in intervals if value is not None]
    if len(known) < 2:
        return []
    title = "Goodput, with 95 % intervals"
    return [bar_chart(title, "share of offered jobs", known, themed=themed)]


def against_load(found: Sequence[Variant], *, themed: bool = False) -> list[str]:
    """Return how variants do as their load grows, if they differ in it."""
    groups: dict[str, list[tuple[float, Variant]]] = {}
    for variant in found:
        spec = flattened(variant.records[0]["spec"])
        rate = float(spec.pop(_RATE, 1.0))
        spec.pop("seed", None)
        groups.setdefault(repr(sorted(spec.items())), []).append((rate, variant))
    if max(map(len, groups.values()), default=0) < 2:
        return []
    charts = []
    for figure, (title, unit) in _LOADED.items():
        series = [_line(figure, group) for group in groups.values()]
        if any(line.points for line in series):
            told = "load: arrivals so many times faster"
            charts.append(line_chart(title, told, unit, series, themed=themed, marks=True))
    return charts


def _line(figure: str, group: list[tuple[float, Variant]]) -> Series:
    ordered = sorted(group, key=lambda pair: pair[0])
    values = [(rate, variant.interval(figure)) for rate, variant in ordered]
    points = [(rate, value.mean) for rate, value in values if value is not None]
    parts = [part for part in ordered[0][1].name.split(", ") if not part.startswith(f"{_RATE}=")]
    return Series(", ".join(parts) or "all", points)


def distributions(found: Sequence[Variant], *, themed: bool = False) -> list[str]:
    """Return the distribution of each latency."""
    charts = []
    for name, title in _CDFS.items():
        series = [Series(variant.name, variant.cdf(name)) for variant in found]
        if any(line.points for line in series):
            charts.append(cdf_chart(title, "ms", series, themed=themed))
    return charts


def timelines(found: Sequence[Variant], *, themed: bool = False) -> list[str]:
    """Return how the run with the smallest seed of each variant went."""
    charts = []
    for name, (title, unit) in _LINES.items():
        series = [Series(v.name, v.records[0]["timelines"].get(name, [])) for v in found]
        if any(line.points for line in series):
            charts.append(line_chart(title, "seconds", unit, series, themed=themed))
    return charts


def every(found: Sequence[Variant]) -> list[str]:
    """Return all of them, for a picture: what compares before what happened."""
    return [*bars(found), *against_load(found), *distributions(found), *timelines(found)]
