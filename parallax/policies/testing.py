"""Small worlds to test policies in: jobs, workers, clusters, queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from parallax.core.model import ClusterView, JobView, QueueView, WorkerView
from parallax.policies.interfaces import RoutingPolicy


def job(n: int = 0, tenant: str = "acme", **fields: Any) -> JobView:
    values: dict[str, Any] = {"prompt_tokens": 100, "max_tokens": 400, "arrival": float(n)}
    return JobView(f"j{n}", tenant, **(values | fields))


def worker(n: int = 0, **fields: Any) -> WorkerView:
    return WorkerView(f"w{n}", **({"slots": 8, "free": 1_000} | fields))


def cluster(*workers: WorkerView) -> ClusterView:
    return ClusterView(workers, now=0.0)


def queue(**fields: Any) -> QueueView:
    values: dict[str, Any] = {
        "tenant_jobs": 0, "tenant_cost": 0.0, "total_jobs": 0, "total_cost": 0.0, "kv_used": 0.0,
        "workers": 1,
    }  # fmt: skip
    return QueueView(**(values | fields))


def placed(policy: RoutingPolicy, costs: Sequence[float], seen: ClusterView) -> list[str]:
    """Route one batch; every job must find a place."""
    routes = policy.route([job(n) for n in range(len(costs))], costs, seen)
    if None in routes:
        raise AssertionError(f"not every job found a place: {routes}")
    return [str(name) for name in routes]


def loads(names: Sequence[str], costs: Sequence[float]) -> Counter[str]:
    """Return the cost that each worker got."""
    total: Counter[str] = Counter()
    for name, cost in zip(names, costs, strict=True):
        total[name] += cost  # type: ignore[assignment]
    return total


def without_free(seen: ClusterView) -> ClusterView:
    return replace(seen, workers=tuple(replace(w, free=0) for w in seen.workers))
