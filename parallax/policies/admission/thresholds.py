"""Thresholds: refuse what would wait behind too much."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, QueueView, Rejection, check_int, check_number
from parallax.core.reasons import Reason
from parallax.policies.registry import ADMISSION


@ADMISSION.register("thresholds")
@dataclass(slots=True)
class Thresholds:
    """Refuse a job when its tenant, or all tenants together, have too much queued.

    Jobs are counts, cost is in cost units (prompt tokens + 2 * output tokens by default), `max_kv`
    is the mean share of KV memory in use: above it new work is refused only while other work
    waits, so that one large resident set does not lock the door of an idle system, and only to
    tenants that hold an equal part of it or more, so that nobody pays for another's long prompts.

    Cost: O(1). Use it to keep waiting bounded; it looks at the queue and not at the clock, so a
    limit that fits a fast fleet is generous for a slow one.
    """

    max_jobs_per_tenant: int = 10_000
    max_jobs: int = 100_000
    max_cost_per_tenant: float = 1e9
    max_cost: float = 1e10
    max_kv: float = 0.95  # 0..1

    def __post_init__(self) -> None:
        check_int("thresholds.max_jobs_per_tenant", self.max_jobs_per_tenant, 1, 10**9)
        check_int("thresholds.max_jobs", self.max_jobs, 1, 10**9)
        check_number("thresholds.max_cost_per_tenant", self.max_cost_per_tenant, 1.0, 1e15)
        check_number("thresholds.max_cost", self.max_cost, 1.0, 1e15)
        check_number("thresholds.max_kv", self.max_kv, 0.0, 1.0)

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        if queue.tenant_jobs >= self.max_jobs_per_tenant:
            return Rejection(Reason.TENANT_QUEUE_FULL)
        if queue.total_jobs >= self.max_jobs:
            return Rejection(Reason.QUEUE_FULL)
        if queue.tenant_cost + estimate > self.max_cost_per_tenant:
            return Rejection(Reason.TENANT_COST_FULL)
        if queue.total_cost + estimate > self.max_cost:
            return Rejection(Reason.COST_FULL)
        if queue.kv_used > self.max_kv and queue.total_jobs > 0 and queue.presses:
            return Rejection(Reason.MEMORY_FULL)
        return None
