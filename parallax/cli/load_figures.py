"""From a run's samples to the figures people ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from parallax.cli.documents import Spread, TenantFigures
from parallax.core.lifecycle import Outcome
from parallax.core.quantiles import quantile
from parallax.producers.load.drive import Run, Sample

HEAD = (
    "tenant", "weight", "offered", "completed", "jobs/s", "out tok/s", "share", "due",
    "ttft p50", "ttft p95", "ttft p99", "e2e p50", "e2e p95", "e2e p99",
)  # fmt: skip

#: A tenant that got less than this part of its due is below it; one that got this part of what it
#: asked for got all of it (what runs at the edges of the window is not counted in full).
_BELOW, _ALL = 0.95, 0.9


def row(one: TenantFigures) -> tuple[object, ...]:
    """Return the cells under `HEAD`."""
    ttft, e2e = one.ttft_s, one.e2e_s
    return (
        one.tenant, one.weight, one.offered_jobs, one.completed_jobs, one.jobs_per_s,
        one.output_tokens_per_s, one.share, one.due, ttft.p50, ttft.p95, ttft.p99, e2e.p50,
        e2e.p95, e2e.p99,
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
    total, total_weight = sum(served.values()), sum(weighted.values())
    rows = [
        _figures(
            tenant,
            [s for s in run.samples.values() if s.tenant == tenant],
            span,
            weighted[tenant],
            served[tenant] / total if total else None,
            weighted[tenant] / total_weight,
            _asked(run.samples.values(), tenant, window),
            served[tenant],
        )
        for tenant in tenants
    ]
    return [*rows, _figures("all", list(run.samples.values()), span, total_weight, None, 1.0)]


def _served(samples: Iterable[Sample], tenant: str, window: tuple[float, float] | None) -> float:
    if window is None:
        return 0.0
    return sum(
        s.cost
        for s in samples
        if s.tenant == tenant and s.ended is not None and window[0] <= s.ended <= window[1]
    )


def _asked(
    samples: Iterable[Sample], tenant: str, window: tuple[float, float] | None
) -> float | None:
    """Return the cost of a tenant's demand in the window; None if it is not known."""
    if window is None:
        return None
    asked = 0.0
    for sample in samples:
        if sample.tenant == tenant and window[0] <= sample.due <= window[1]:
            if sample.outcome is not Outcome.COMPLETED:
                return None  # refused and failed jobs were demand, too, and nobody knows their cost
            asked += sample.cost
    return asked


def _figures(
    name: str,
    samples: Sequence[Sample],
    span: float,
    weight: float,
    share: float | None,
    due: float,
    asked: float | None = None,
    served: float = 0.0,
) -> TenantFigures:
    done = [s for s in samples if s.outcome is Outcome.COMPLETED]
    return TenantFigures(
        tenant=name,
        weight=weight,
        offered_jobs=len(samples),
        completed_jobs=len(done),
        jobs_per_s=len(done) / span,
        output_tokens_per_s=sum(s.output_tokens for s in done) / span,
        share=share,
        due=due,
        note=_note(share, due, asked, served),
        ttft_s=_spread([s.ttft for s in done if s.ttft is not None]),
        e2e_s=_spread([s.e2e for s in done if s.e2e is not None]),
    )


def _note(share: float | None, due: float, asked: float | None, served: float) -> str | None:
    """Say why a tenant is below its due, if it is: an idle share goes to those who wait."""
    if not share or not asked or share >= _BELOW * due or served < _ALL * asked:
        return None
    return f"got all it asked for: {share:.0%} of the service, where up to {due:.0%} was its due"


def _spread(values: list[float]) -> Spread:
    if not values:
        return Spread(None, None, None)
    return Spread(quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99))


def totals(run: Run) -> dict[str, Any]:
    """Return what happened to all jobs: outcomes, refusals, and the promises."""
    outcomes = {outcome.value: 0 for outcome in Outcome}
    refused = 0
    for sample in run.samples.values():
        refused += bool(sample.refused)
        if sample.outcome is not None:
            outcomes[sample.outcome.value] += 1
    return {
        "offered_jobs": len(run.samples),
        "accepted_jobs": len(run.samples) - refused,
        "refused_jobs": refused,
        "outcomes": outcomes,
        "lost_jobs": run.lost,
        "finished_twice_jobs": run.twice,
        "open_jobs": run.open,
        "interrupted": run.interrupted,
        "offered_s": round(run.offered_s, 3),
        "ended_s": round(run.ended_s, 3),
    }


def overloaded(run: Run, duration_s: float) -> tuple[float, float]:
    """Return when every tenant was backlogged, if the load is an overload: not in its first fifth.

    Seconds from the start; of a run that was ended early the second half.
    """
    return min(0.2 * duration_s, 0.5 * run.offered_s), run.offered_s
