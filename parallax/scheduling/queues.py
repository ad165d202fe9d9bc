"""The scheduler's memory of waiting jobs."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection
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


#: Where a job stands in its lane: the smallest is the first.
_Place = tuple[float, int, str]


class Lane:
    """Those of a tenant's waiting jobs that ask for one model, by place."""

    __slots__ = ("count", "places")

    def __init__(self) -> None:
        self.places: list[_Place] = []  # a heap; jobs that are gone are skipped when met
        self.count = 0  # of those that wait

    def first(self, jobs: dict[str, Queued]) -> _Place | None:
        """Return the first place of a job that waits. O(log n) amortised."""
        while self.places and self.places[0][2] not in jobs:
            heapq.heappop(self.places)
        return self.places[0] if self.places else None

    def compact(self, jobs: dict[str, Queued]) -> None:
        """Forget skipped places before they outnumber the jobs: memory follows the queue."""
        if len(self.places) > 2 * self.count + 64:
            self.places = [place for place in self.places if place[2] in jobs]
            heapq.heapify(self.places)


class TenantQueue:
    """The waiting jobs of one tenant, in a lane for each model; jobs may leave from anywhere.

    Of each lane the job with the smallest key is the first. A lane lasts as long as jobs wait in
    it.
    """

    __slots__ = ("_serial", "cost", "hashes", "jobs", "lanes", "unread")

    def __init__(self) -> None:
        self.jobs: dict[str, Queued] = {}
        self.lanes: dict[str, Lane] = {}  # by model
        self.cost = 0.0
        self.unread = 0
        self.hashes = 0  # of all their prefixes
        self._serial = 0

    def push(self, key: float, queued: Queued) -> None:
        """Add a job. O(log n)."""
        self._serial += 1
        job = queued.job
        lane = self.lanes.get(job.model)
        if lane is None:
            lane = self.lanes[job.model] = Lane()
        self.jobs[job.id] = queued
        self.cost += queued.estimate
        self.hashes += len(job.prefix)
        heapq.heappush(lane.places, (key, self._serial, job.id))
        lane.count += 1

    def pop(self, models: Collection[str] | None = None) -> Queued | None:
        """Remove and return the first job in one of these lanes; None if there is none.

        O(log n) amortised, and O(lanes) where there are several.
        """
        best: tuple[_Place, Lane] | None = None
        for model in self._lanes_of(models):
            lane = self.lanes[model]
            place = lane.first(self.jobs)
            if place is not None and (best is None or place < best[0]):
                best = place, lane
        if best is None:
            return None
        heapq.heappop(best[1].places)
        return self.remove(best[0][2])

    def _lanes_of(self, models: Collection[str] | None) -> Collection[str]:
        if models is None:
            return self.lanes
        return [model for model in self.lanes if model in models]

    def remove(self, job_id: str) -> Queued | None:
        """Remove a job from anywhere; its place in its lane is skipped later."""
        queued = self.jobs.pop(job_id, None)
        if queued is None:
            return None
        model = queued.job.model
        lane = self.lanes[model]
        lane.count -= 1
        if lane.count:
            lane.compact(self.jobs)
        else:
            del self.lanes[model]
        self.hashes -= len(queued.job.prefix)
        # An empty queue has no cost: rounding must not accumulate over its life.
        self.cost = self.cost - queued.estimate if self.jobs else 0.0
        return queued


@dataclass(slots=True)
class Queues:
    """All queues. Totals are kept, so that no event costs O(tenants)."""

    by_tenant: dict[str, TenantQueue] = field(default_factory=dict)
    tenant_of: dict[str, str] = field(default_factory=dict)  # queued job -> tenant
    lanes: dict[str, int] = field(default_factory=dict)  # model -> how many jobs wait for it
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
        model = queued.job.model
        self.lanes[model] = self.lanes.get(model, 0) + 1
        self.cost += queued.estimate
        self.prefix_hashes += len(queued.job.prefix)
        self._since.append((queued.since, queued.job.id))
        self._skip()

    def dequeue(self, tenant: str, models: Collection[str] | None = None) -> Queued | None:
        """Take the first job of a tenant in one of these lanes; None: in any."""
        queued = self.by_tenant[tenant].pop(models)
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
        model = queued.job.model
        self.lanes[model] -= 1
        if not self.lanes[model]:
            del self.lanes[model]
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

    def has_left_lane(self, tenant: str, model: str) -> bool:
        """Whether a tenant has waiting jobs, and none of this model. O(1)."""
        queue = self.by_tenant.get(tenant)
        return queue is not None and model not in queue.lanes

    def forget_if_empty(self, tenant: str) -> bool:
        """Drop the queue of a tenant that has no waiting job; say whether it was empty."""
        queue = self.by_tenant.get(tenant)
        if queue is None or queue.jobs:
            return False
        self.unread -= queue.unread
        del self.by_tenant[tenant]
        return True
