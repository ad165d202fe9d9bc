"""What the scheduler remembers: queued jobs, attempts in flight, workers."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from parallax.core.ewma import Ewma
from parallax.core.model import JobView, WorkerView


@dataclass(slots=True)
class Queued:
    """A job that waits. `entry` is the driver's reference to where it waits."""

    job: JobView
    entry: str
    estimate: float


@dataclass(slots=True)
class Flight:
    """An attempt that was dispatched and has not ended."""

    job: JobView
    entry: str
    worker: str
    attempt: int
    estimate: float


class TenantQueue:
    """The waiting jobs of one tenant, smallest key first; jobs may leave from anywhere."""

    __slots__ = ("_heap", "_serial", "cost", "jobs", "unread")

    def __init__(self) -> None:
        self.jobs: dict[str, Queued] = {}
        self.cost = 0.0
        self.unread = 0
        self._heap: list[tuple[float, int, str]] = []
        self._serial = 0

    def push(self, key: float, queued: Queued) -> None:
        """Add a job. O(log n)."""
        self._serial += 1
        self.jobs[queued.job.id] = queued
        self.cost += queued.estimate
        heapq.heappush(self._heap, (key, self._serial, queued.job.id))

    def pop(self) -> Queued | None:
        """Remove and return the first job; None when empty. O(log n) amortised."""
        while self._heap:
            queued = self.jobs.get(heapq.heappop(self._heap)[2])
            if queued is not None:
                self._left(queued)
                return queued
        return None

    def remove(self, job_id: str) -> Queued | None:
        """Remove a job from anywhere; its place in the heap is skipped later."""
        queued = self.jobs.get(job_id)
        if queued is not None:
            self._left(queued)
            self._compact()
        return queued

    def _left(self, queued: Queued) -> None:
        del self.jobs[queued.job.id]
        # An empty queue has no cost: rounding must not accumulate over its life.
        self.cost = self.cost - queued.estimate if self.jobs else 0.0

    def _compact(self) -> None:
        """Forget skipped places before they outnumber the jobs: memory follows the queue."""
        if len(self._heap) > 2 * len(self.jobs) + 64:
            self._heap = [place for place in self._heap if place[2] in self.jobs]
            heapq.heapify(self._heap)


@dataclass(slots=True)
class WorkerState:
    """A live worker: what it reported, and what the scheduler itself has in flight there."""

    id: str
    slots: int = 1
    weight: float = 1.0
    kv_used: float = 0.0
    kv_capacity: int = 0
    role: str = "both"
    version: str = ""
    draining: bool = False
    reported_at: float = 0.0
    in_flight: int = 0
    pending_cost: float = 0.0
    hold_until: float = 0.0  # the store refused a dispatch: look again at this time
    pace: Ewma = field(default_factory=Ewma)  # seconds of service per cost unit

    def view(self, cluster_pace: float | None, free: int = 0) -> WorkerView:
        """Return what policies may see; `free` is what the gate has decided, 0 before it has."""
        pace = self.pace.value
        slowness = pace / cluster_pace if pace and cluster_pace else 1.0
        return WorkerView(
            self.id,
            self.slots,
            self.in_flight,
            self.pending_cost,
            free,
            slowness,
            self.weight,
            self.kv_used,
            self.kv_capacity,
            self.reported_at,
            self.role,
            self.version,
            self.draining,
        )

    def take(self, estimate: float) -> None:
        """Count a dispatch."""
        self.in_flight += 1
        self.pending_cost += estimate

    def release(self, estimate: float) -> None:
        """Count the end of an attempt: subtract exactly what was added for it."""
        self.in_flight -= 1
        self.pending_cost = self.pending_cost - estimate if self.in_flight else 0.0


@dataclass(slots=True)
class State:
    """Everything the scheduler remembers. Totals are kept, so that no event costs O(tenants)."""

    queues: dict[str, TenantQueue] = field(default_factory=dict)
    tenant_of: dict[str, str] = field(default_factory=dict)  # queued job -> tenant
    flights: dict[str, Flight] = field(default_factory=dict)
    workers: dict[str, WorkerState] = field(default_factory=dict)
    unread: int = 0
    cost: float = 0.0

    def enqueue(self, key: float, queued: Queued) -> None:
        """Put a job into its tenant's queue."""
        tenant = queued.job.tenant
        queue = self.queues.get(tenant)
        if queue is None:
            queue = self.queues[tenant] = TenantQueue()
        queue.push(key, queued)
        self.tenant_of[queued.job.id] = tenant
        self.cost += queued.estimate

    def dequeue(self, tenant: str) -> Queued | None:
        """Take the first job of a tenant."""
        queued = self.queues[tenant].pop()
        if queued is not None:
            self._gone(queued)
        return queued

    def withdraw(self, job_id: str) -> Queued | None:
        """Take a job from wherever it waits; None if it does not wait here."""
        tenant = self.tenant_of.get(job_id)
        queued = self.queues[tenant].remove(job_id) if tenant else None
        if queued is not None:
            self._gone(queued)
        return queued

    def _gone(self, queued: Queued) -> None:
        del self.tenant_of[queued.job.id]
        self.cost = self.cost - queued.estimate if self.tenant_of else 0.0

    def measured(self, tenant: str, unread: int) -> None:
        """Note how many jobs of a tenant wait beyond those told of."""
        queue = self.queues.get(tenant)
        if queue is not None:
            self.unread += unread - queue.unread
            queue.unread = unread

    def forget_if_empty(self, tenant: str) -> bool:
        """Drop the queue of a tenant that has no waiting job; say whether it was empty."""
        queue = self.queues.get(tenant)
        if queue is None or queue.jobs:
            return False
        self.unread -= queue.unread
        del self.queues[tenant]
        return True
