"""From a run's samples to the figures people ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from parallax.core.lifecycle import Outcome
from parallax.core.quantiles import quantile
from parallax.producers.drive import Run, Sample

HEAD = (
    "tenant", "weight", "offered", "completed", "jobs/s", "out tok/s", "share", "due",
    "ttft p50", "p95", "p99", "e2e p50", "p95", "p99",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """One tenant's figures. Times are seconds; share and due are parts of 1."""

    tenant: str
    weight: float
    offered: int
    completed: int
    jobs_per_s: float
    output_tokens_per_s: float
    share: float | None  # of the cost served while every tenant was backlogged
    due: float  # its weight over the sum of weights
    ttft_s: tuple[float | None, float | None, float | None]  # p50, p95, p99
    e2e_s: tuple[float | None, float | None, float | None]

    def row(self) -> tuple[object, ...]:
        """Return the cells under `HEAD`."""
        return (
            self.tenant, self.weight, self.offered, self.completed, self.jobs_per_s,
            self.output_tokens_per_s, self.share, self.due, *self.ttft_s, *self.e2e_s,
        )  # fmt: skip


def figures(
    run: Run, weights: dict[str, float], window: tuple[float, float] | None = None
) -> list[TenantFigures]:
    """Return the figures of each tenant and, last, of all together.

    `window` (seconds from the start) is when every tenant was backlogged: shares are taken there.
    """
    tenants = sorted({s.tenant for s in run.samples.values()})
    weighted = {tenant: weights.get(tenant, 1.0) for tenant in tenants}
    span = max(run.ended_s, 1e-9)
    served = {t: _served(run.samples.values(), t, window) for t in tenants}
    total, heft = sum(served.values()), sum(weighted.values())
    rows = [
        _figures(
            tenant,
            [s for s in run.samples.values() if s.tenant == tenant],
            span,
            weighted[tenant],
            served[tenant] / total if total else None,
            weighted[tenant] / heft,
        )
        for tenant in tenants
    ]
    return [*rows, _figures("all", list(run.samples.values()), span, heft, None, 1.0)]


def _served(samples: Iterable[Sample], tenant: str, window: tuple[float, float] | None) -> float:
    if window is None:
        return 0.0
    return sum(
        s.cost
        for s in samples
        if s.tenant == tenant and s.ended is not None and window[0] <= s.ended <= window[1]
    )


def _figures(
    name: str,
    samples: Sequence[Sample],
    span: float,
    weight: float,
    share: float | None,
    due: float,
) -> TenantFigures:
    done = [s for s in samples if s.outcome is Outcome.COMPLETED]
    return TenantFigures(
        name,
        weight,
        len(samples),
        len(done),
        len(done) / span,
        sum(s.output_tokens for s in done) / span,
        share,
        due,
        _spread([s.ttft for s in done if s.ttft is not None]),
        _spread([s.e2e for s in done if s.e2e is not None]),
    )


def _spread(values: list[float]) -> tuple[float | None, float | None, float | None]:
    if not values:
        return None, None, None
    return quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99)


def totals(run: Run) -> dict[str, Any]:
    """Return what happened to all jobs: outcomes, refusals, and the promises."""
    outcomes = {outcome.value: 0 for outcome in Outcome}
    refused = 0
    for sample in run.samples.values():
        refused += bool(sample.refused)
        if sample.outcome is not None:
            outcomes[sample.outcome.value] += 1
    return {
        "offered": len(run.samples),
        "accepted": len(run.samples) - refused,
        "refused_at_the_door": refused,
        **outcomes,
        "lost": run.lost,
        "finished_twice": run.twice,
        "still_open": run.open,
        "interrupted": run.interrupted,
        "offered_s": round(run.offered_s, 3),
        "ended_s": round(run.ended_s, 3),
    }
