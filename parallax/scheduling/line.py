"""Owns the queues, picks the next job and keeps every tenant's account of cost."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from math import inf

from parallax.core.model import JobView, Rejection
from parallax.core.reasons import Reason
from parallax.policies.interfaces import AdmissionObserver, FairnessPolicy, OrderingPolicy
from parallax.scheduling.actions import Action, Expire, Reject, SaveAccounts
from parallax.scheduling.queues import Queued, Queues
from parallax.scheduling.room import Room


@dataclass(slots=True)
class Line:
    """See the module's docstring. `observer`: the admission policy, if it observes queue waits."""

    fairness: FairnessPolicy
    ordering: OrderingPolicy
    observer: AdmissionObserver | None
    queues: Queues = field(default_factory=Queues)
    _weights: dict[str, float] = field(default_factory=dict)
    _deadlines: list[tuple[float, str]] = field(default_factory=list)
    _touched: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.queues.tenant_of)

    def enqueue(self, queued: Queued, service_s: float) -> None:
        """Put a job into the queue of its tenant; it is expected to be served for so long."""
        job = queued.job
        self.queues.enqueue(self.ordering.key(job, queued.estimate, service_s), queued)
        self.fairness.joined(job)
        if job.deadline != inf:
            heapq.heappush(self._deadlines, (job.deadline, job.id))

    def withdraw(self, job_id: str) -> Queued | None:
        """Take a job from wherever it waits."""
        queued = self.queues.withdraw(job_id)
        if queued is not None:
            self._left(queued.job.tenant, queued.job.model)
        return queued

    def expired(self, now: float) -> list[Expire]:
        """Take out the jobs whose deadline has passed."""
        late: list[Expire] = []
        while self._deadlines and self._deadlines[0][0] < now:
            queued = self.queues.withdraw(heapq.heappop(self._deadlines)[1])
            if queued is not None:
                late.append(Expire(queued.job.id, queued.job.tenant, queued.entry))
                self._left(queued.job.tenant, queued.job.model)
        return late

    def choose(self, room: Room, pace: float, now: float, actions: list[Action]) -> list[Queued]:
        """Take the jobs that there is room for, each charged as it is taken.

        `pace` is seconds per cost unit. What is not worth serving any more is refused instead.
        """
        chosen: list[Queued] = []
        lanes = self.queues.lanes
        while True:
            models = room.open(lanes)
            if models is not None and not models:
                break
            tenant = self.fairness.pick(models) if models is not None else self.fairness.pick()
            if tenant is None:
                break
            queued = self.queues.dequeue(tenant, models)
            if queued is None:
                break
            shed = self._shed(queued, pace, now)
            if shed is not None:
                actions.append(refusal(queued.job, queued.entry, shed))
            else:
                queued.weight = self.charge(tenant, queued.estimate)
                room.take(queued.job.model)
                chosen.append(queued)
            self._left(tenant, queued.job.model)
        return chosen

    def weigh(self, tenant: str, weight: float) -> None:
        """Change the tenant's weight from now on; earlier charges stay."""
        self.fairness.weigh(tenant, weight)
        self._weights[tenant] = weight

    def weight(self, tenant: str) -> float:
        """Return how many shares this tenant is due now."""
        return self._weights.get(tenant, 1.0)

    def charge(self, tenant: str, cost: float) -> float:
        """An attempt of this tenant, estimated at `cost`, is sent out; return at which weight."""
        self.fairness.charge(tenant, cost)
        self._touched.add(tenant)
        return self.weight(tenant)

    def settle(
        self, tenant: str, estimate: float, consumed: float = 0.0, weight: float | None = None
    ) -> None:
        """An attempt that was charged as `estimate` at that weight is over; it consumed so much.

        None is the present weight.
        """
        self.fairness.settle(tenant, estimate, consumed, weight)
        if self.observer is not None:
            self.observer.settled(tenant, consumed - estimate)
        self._touched.add(tenant)

    def refund(self, queued: Queued) -> None:
        """A job that was charged goes on to no worker: it costs what was spent on it."""
        self.settle(queued.job.tenant, queued.estimate, queued.spent, queued.weight)

    def saved(self) -> SaveAccounts | None:
        """Return the accounts that have changed since the last call; None if none has."""
        if not self._touched:
            return None
        accounts = self.fairness.accounts(sorted(self._touched))
        self._touched.clear()
        return SaveAccounts(accounts)

    def _shed(self, queued: Queued, pace: float, now: float) -> Rejection | None:
        job = queued.job
        if job.deadline != inf and self.ordering.hopeless(job, pace * queued.estimate, now):
            return Rejection(Reason.HOPELESS)
        if self.observer is None:
            return None
        return self.observer.dispatching(job, max(0.0, now - queued.since), now)

    def _left(self, tenant: str, model: str) -> None:
        """Tell fairness when a tenant has nothing queued any more, or nothing in this lane."""
        if self.queues.forget_if_empty(tenant):
            self.fairness.left(tenant)
        elif self.queues.has_left_lane(tenant, model):
            self.fairness.left_lane(tenant, model)
        if self._deadlines:
            self._compact()

    def _compact(self) -> None:
        """Forget the deadlines of jobs that wait no more: memory follows the queue.

        A deadline may be a month away. O(1) amortised.
        """
        waiting = self.queues.tenant_of
        if waiting and len(self._deadlines) <= 2 * len(waiting) + 64:
            return
        self._deadlines = list({due for due in self._deadlines if due[1] in waiting})
        heapq.heapify(self._deadlines)


def refusal(job: JobView, entry: str, why: Rejection) -> Reject:
    """Return the action that refuses a job."""
    return Reject(job.id, job.tenant, entry, why.reason, why.retry_after_s)
