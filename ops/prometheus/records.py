"""The recording rules of Prometheus: shares of misses, percentiles, fairness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WINDOWS = ("5m", "30m", "1h", "6h")
LATENCIES = ("queue_wait", "ttft", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class Record:
    """A series that is worked out."""

    name: str
    expr: str


def _missed(window: str) -> Record:
    missed, met = (
        f"sum by (cell, objective) (rate(parallax_slo_{word}_total[{window}]))"
        for word in ("missed", "met")
    )
    return Record(f"parallax:slo_missed:ratio_rate{window}", f"{missed} / ({missed} + {met})")


def _percentile(latency: str, percent: int) -> Record:
    buckets = f"sum by (cell, le) (rate(parallax_{latency}_seconds_bucket[5m]))"
    quantile = f"histogram_quantile(0.{percent}, {buckets})"
    return Record(f"parallax:{latency}_seconds:p{percent}_rate5m", quantile)


_COST = "sum by (cell, tenant) (rate(parallax_served_cost_total[5m]))"
_WEIGHT = "max by (cell, tenant) (parallax_cell_weight)"
_WAITED = "max by (cell, tenant) (quantile_over_time(0.1, parallax_cell_queue_depth[5m])) > 0"
_CONTENDING = "parallax:contending_cost:rate5m"

RECORDS: Sequence[Record] = (
    Record("parallax:jobs:rate5m", "sum by (cell, outcome) (rate(parallax_jobs_total[5m]))"),
    *(_missed(window) for window in WINDOWS),
    *(_percentile(latency, percent) for latency in LATENCIES for percent in (50, 95, 99)),
    Record("parallax:cached_tokens:ratio_rate5m",
           "sum by (cell) (rate(parallax_cached_tokens_total[5m])) "
           "/ sum by (cell) (rate(parallax_prompt_tokens_total[5m]))"),
    Record("parallax:tenant_share:ratio_rate5m",
           f"{_COST} / on (cell) group_left () "
           "sum by (cell) (rate(parallax_served_cost_total[5m]))"),
    # Cost for each unit of weight, of those tenants that had waiting jobs at nine scrapes of ten:
    # whoever asks for less than its due says nothing of fairness.
    Record(_CONTENDING, f"({_COST} / on (cell, tenant) {_WEIGHT}) and on (cell, tenant) "
           f"({_WAITED})"),
    Record("parallax:fairness_jain:ratio_rate5m",
           f"sum by (cell) ({_CONTENDING}) ^ 2 / "
           f"(count by (cell) ({_CONTENDING}) * sum by (cell) ({_CONTENDING} ^ 2))"),
)  # fmt: skip
