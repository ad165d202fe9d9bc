"""What the scheduler remembers of jobs that wait."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from parallax.core.model import JobView


@dataclass(slots=True)
class Queued:
    """A job that waits. `entry` is the driver's reference to where it waits.

    `weight` is what its tenant had when it was charged; `spent` is what was computed for it by
    others, in cost units.
    """

    job: JobView
    entry: str
    estimate: float
    output: float = 0.0  # predicted tokens of the answer
    since: float = 0.0  # when it was queued
    weight: float = 1.0
    spent: float = 0.0


class TenantQueue:
    """The waiting jobs of one tenant, smallest key first; jobs may leave from anywhere."""

    __slots__ = ("_heap", "_serial", "cost", "hashes", "jobs", "unread")

    def __init__(self) -> None:
        self.jobs: dict[str, Queued] = {}
        self.cost = 0.0
        self.unread = 0
        self.hashes = 0  # of all their prefixes
        self._heap: list[tuple[float, int, str]] = []
        self._serial = 0

    def push(self, key: float, queued: Queued) -> None:
        """Add a job. O(log n)."""
        self._serial += 1
        self.jobs[queued.job.id] = queued
        self.cost += queued.estimate
        self.hashes += len(queued.job.prefix)
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
        self.hashes -= len(queued.job.prefix)
        # An empty queue has no cost: rounding must not accumulate over its life.
        self.cost = self.cost - queued.estimate if self.jobs else 0.0

    def _compact(self) -> None:
        """Forget skipped places before they outnumber the jobs: memory follows the queue."""
        if len(self._heap) > 2 * len(self.jobs) + 64:
            self._heap = [place for place in self._heap if place[2] in self.jobs]
            heapq.heapify(self._heap)


@dataclass(slots=True)
class Queues:
    """All queues. Totals are kept, so that no event costs O(tenants)."""

    by_tenant: dict[str, TenantQueue] = field(default_factory=dict)
    tenant_of: dict[str, str] = field(default_factory=dict)  # queued job -> tenant
    unread: int = 0
    cost: float = 0.0
    prefix_hashes: int = 0  # of the prefixes of all waiting jobs
    _since: deque[tuple[float, str]] = field(default_factory=deque)

    def enqueue(self, key: float, queued: Queued) -> None:
        """Put a job into its tenant's queue."""
        tenant = queued.job.tenant
        queue = self.by_tenant.get(tenant)
        if queue is None:
            queue = self.by_tenant[tenant] = TenantQueue()
        queue.push(key, queued)
        self.tenant_of[queued.job.id] = tenant
        self.cost += queued.estimate
        self.prefix_hashes += len(queued.job.prefix)
        self._since.append((queued.since, queued.job.id))
        self._skip()

    def dequeue(self, tenant: str) -> Queued | None:
        """Take the first job of a tenant."""
        queued = self.by_tenant[tenant].pop()
        if queued is not None:
            self._gone(queued)
        return queued

    def withdraw(self, job_id: str) -> Queued | None:
        """Take a job from wherever it waits; None if it does not wait here."""
        tenant = self.tenant_of.get(job_id)
        queued = self.by_tenant[tenant].remove(job_id) if tenant else None
        if queued is not None:
            self._gone(queued)
        return queued

    def _gone(self, queued: Queued) -> None:
        del self.tenant_of[queued.job.id]
        self.prefix_hashes -= len(queued.job.prefix)
        if self.tenant_of:
            self.cost -= queued.estimate
        else:
            self.cost = 0.0
            self._since.clear()

    def oldest_wait(self, now: float) -> float:
        """Return for how long the job that was queued first has waited (seconds). O(1)."""
        if self._since and self._since[0][1] not in self.tenant_of:
            self._skip()
        return max(0.0, now - self._since[0][0]) if self._since else 0.0

    def _skip(self) -> None:
        """Forget those at the front that wait no more."""
        while self._since and self._since[0][1] not in self.tenant_of:
            self._since.popleft()
        if len(self._since) > 2 * len(self.tenant_of) + 64:
            self._since = deque(place for place in self._since if place[1] in self.tenant_of)

    def held(self, tenant: str) -> int:
        """Return how many jobs of a tenant wait here. O(1)."""
        queue = self.by_tenant.get(tenant)
        return len(queue.jobs) if queue else 0

    def hashes_of(self, tenant: str) -> int:
        """Return how many hashes the prefixes of a tenant's waiting jobs have. O(1)."""
        queue = self.by_tenant.get(tenant)
        return queue.hashes if queue else 0

    def measured(self, tenant: str, unread: int) -> None:
        """Note how many jobs of a tenant wait beyond those told of."""
        queue = self.by_tenant.get(tenant)
        if queue is not None:
            self.unread += unread - queue.unread
            queue.unread = unread

    def forget_if_empty(self, tenant: str) -> bool:
        """Drop the queue of a tenant that has no waiting job; say whether it was empty."""
        queue = self.by_tenant.get(tenant)
        if queue is None or queue.jobs:
            return False
        self.unread -= queue.unread
        del self.by_tenant[tenant]
        return True
