"""The scheduler: events in, actions out.

It never waits, talks to nobody, never asks the time and never rolls its own dice. The service feeds
it from Redis, the simulator from a virtual clock, the tests from literals: the same code decides in
all three. The same settings, seed and events give the same actions.

    arrivals -> admission -> tenant queues -> fairness -> ordering -> gate -> routing -> Dispatch

Four rules hold it together:
1. *Late binding.* A job is dispatched only when the gate says that a worker has a slot for it;
   fairness and ordering act on everything that is still queued.
2. *Cost, not requests.* A tenant is charged the estimate at dispatch and the difference to the true
   cost when the attempt ends, whatever its end.
3. *No oracle.* Policies see `JobView`, which has no true output length.
4. *Conservation.* A job is queued, in flight, or gone with an action that says why.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from parallax.core.cost import TokenCost
from parallax.core.ewma import Ewma
from parallax.core.lifecycle import Outcome
from parallax.core.model import ClusterView, JobView, QueueView, WorkerView
from parallax.policies.interfaces import (
    AdmissionPolicy,
    DispatchGate,
    FairnessPolicy,
    OrderingPolicy,
    OutputPredictor,
    RoutingPolicy,
)
from parallax.scheduling.actions import Action, Dispatch, Expire, Reject, SaveAccounts
from parallax.scheduling.events import (
    AttemptEnded,
    AttemptMoved,
    AttemptRestored,
    BacklogMeasured,
    DispatchRefused,
    Event,
    JobArrived,
    JobWithdrawn,
    TenantConfigured,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.state import Flight, Queued, State, WorkerState

#: After the store refused a dispatch, its worker is left alone for so long (seconds).
HOLD_S = 0.05


@dataclass(frozen=True, slots=True)
class Composition:
    """One policy for each decision."""

    admission: AdmissionPolicy
    fairness: FairnessPolicy
    ordering: OrderingPolicy
    gate: DispatchGate
    routing: RoutingPolicy
    predictor: OutputPredictor
    cost: TokenCost = field(default_factory=TokenCost)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an observer may see: queued jobs by tenant, attempts in flight by worker."""

    queued: dict[str, int]
    in_flight: dict[str, int]
    kv_used: dict[str, float]


class Scheduler:
    """Decides; see the module's docstring. One instance per leader, never shared."""

    def __init__(self, policies: Composition) -> None:
        self._policies = policies
        self._state = State()
        self._deadlines: list[tuple[float, str]] = []
        self._touched: set[str] = set()
        self._pace = Ewma()
        self._kv_used: float | None = None  # mean over workers, until one reports again
        self._react: dict[type, Callable[[Any, float, list[Action]], None]] = {
            JobArrived: self._arrived,
            JobWithdrawn: self._withdrawn,
            AttemptEnded: self._ended,
            AttemptRestored: self._restored,
            AttemptMoved: self._moved,
            DispatchRefused: self._refused,
            WorkerReported: self._reported,
            WorkerLost: self._lost,
            TenantConfigured: self._configured,
            BacklogMeasured: self._measured,
        }

    def handle(self, events: Sequence[Event], now: float) -> list[Action]:
        """Take note of a batch of events and return what to do. O((events + dispatches) log n)."""
        actions: list[Action] = []
        for event in events:
            self._react[type(event)](event, now, actions)
        self._expire(now, actions)
        self._dispatch(now, actions)
        if self._touched:
            accounts = self._policies.fairness.accounts(sorted(self._touched))
            self._touched.clear()
            actions.append(SaveAccounts(accounts))
        return actions

    def restore(self, accounts: dict[str, float]) -> None:
        """Go on with the accounts of a former leader."""
        self._policies.fairness.restore(accounts)

    def snapshot(self) -> Snapshot:
        """Return what an observer may see. O(tenants + workers)."""
        state = self._state
        return Snapshot(
            {tenant: len(q.jobs) + q.unread for tenant, q in state.queues.items()},
            {name: worker.in_flight for name, worker in state.workers.items()},
            {name: worker.kv_used for name, worker in state.workers.items()},
        )

    def held(self, tenant: str) -> int:
        """Return how many jobs of this tenant are queued here. O(1)."""
        queue = self._state.queues.get(tenant)
        return len(queue.jobs) if queue else 0

    @property
    def queued(self) -> int:
        """How many jobs are queued here in all."""
        return len(self._state.tenant_of)

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight."""
        return len(self._state.flights)

    @property
    def workers(self) -> tuple[str, ...]:
        """The live workers, in order."""
        return tuple(sorted(self._state.workers))

    # -- events -------------------------------------------------------------------------------

    def _arrived(self, event: JobArrived, now: float, actions: list[Action]) -> None:
        job, state = event.job, self._state
        known = state.tenant_of.get(job.id)
        if known is not None:
            state.queues[known].jobs[job.id].entry = event.entry
            return
        stale = state.flights.pop(job.id, None)
        if stale is not None:
            self._land(stale, -stale.estimate)
        estimate = self._estimate(job)
        if job.attempt == 0:
            rejection = self._policies.admission.admit(job, estimate, self._queue_view(job), now)
            if rejection is not None:
                reason, wait = rejection.reason, rejection.retry_after_s
                actions.append(Reject(job.id, job.tenant, event.entry, reason, wait))
                return
        self._enqueue(Queued(job, event.entry, estimate))

    def _enqueue(self, queued: Queued) -> None:
        job = queued.job
        self._state.enqueue(self._policies.ordering.key(job, queued.estimate, 0.0), queued)
        self._policies.fairness.joined(job)
        if job.deadline != inf:
            heapq.heappush(self._deadlines, (job.deadline, job.id))

    def _withdrawn(self, event: JobWithdrawn, now: float, actions: list[Action]) -> None:
        queued = self._state.withdraw(event.job_id)
        if queued is not None:
            self._left(queued.job.tenant)
        flight = self._state.flights.pop(event.job_id, None)
        if flight is not None:
            self._land(flight, -flight.estimate)

    def _ended(self, event: AttemptEnded, now: float, actions: list[Action]) -> None:
        used = event.usage
        consumed = self._policies.cost(
            max(0, used.prompt_tokens - used.cached_tokens), used.output_tokens
        )
        flight = self._state.flights.get(event.job_id)
        if flight and flight.worker == event.worker and flight.attempt == event.attempt:
            del self._state.flights[event.job_id]
            self._land(flight, consumed - flight.estimate)
            if event.outcome is Outcome.COMPLETED:
                self._learn(flight, used.output_tokens, used.service_s, consumed, now)
        else:
            self._settle(event.tenant, consumed - event.estimate)

    def _learn(
        self, flight: Flight, output: int, service_s: float, consumed: float, now: float
    ) -> None:
        self._policies.predictor.learn(flight.job, output)
        worker = self._state.workers.get(flight.worker)
        if worker is not None and service_s > 0 and consumed > 0:
            worker.pace.update(service_s / consumed, now)
            self._pace.update(service_s / consumed, now)

    def _restored(self, event: AttemptRestored, now: float, actions: list[Action]) -> None:
        job = event.job
        if job.id not in self._state.flights:
            self._fly(Flight(job, "", event.worker, event.attempt, event.estimate))

    def _moved(self, event: AttemptMoved, now: float, actions: list[Action]) -> None:
        flight = self._state.flights.get(event.job_id)
        if flight is not None:
            self._release(flight)
            flight.worker = event.thief
            self._fly(flight)

    def _refused(self, event: DispatchRefused, now: float, actions: list[Action]) -> None:
        flight = self._state.flights.get(event.job_id)
        if flight is None or flight.worker != event.worker:
            return
        del self._state.flights[event.job_id]
        self._land(flight, -flight.estimate)
        if event.requeue:
            worker = self._state.workers.get(event.worker)
            if worker is not None:
                worker.hold_until = now + HOLD_S
            self._enqueue(Queued(flight.job, flight.entry, flight.estimate))

    def _reported(self, event: WorkerReported, now: float, actions: list[Action]) -> None:
        worker = self._state.workers.get(event.worker)
        if worker is None:
            worker = self._state.workers[event.worker] = WorkerState(event.worker)
            for flight in self._state.flights.values():  # restored before the worker was known
                if flight.worker == event.worker:
                    worker.take(flight.estimate)
        worker.slots, worker.weight, worker.draining = event.slots, event.weight, event.draining
        worker.kv_used, worker.kv_capacity = event.kv_used, event.kv_capacity
        worker.role, worker.version, worker.reported_at = event.role, event.version, now
        self._kv_used = None

    def _lost(self, event: WorkerLost, now: float, actions: list[Action]) -> None:
        self._state.workers.pop(event.worker, None)
        self._kv_used = None
        flights = self._state.flights
        for job_id in [job for job, f in flights.items() if f.worker == event.worker]:
            self._land(flights[job_id], -flights[job_id].estimate)
            del flights[job_id]

    def _configured(self, event: TenantConfigured, now: float, actions: list[Action]) -> None:
        self._policies.fairness.weigh(event.tenant, event.weight)

    def _measured(self, event: BacklogMeasured, now: float, actions: list[Action]) -> None:
        self._state.measured(event.tenant, event.unread)

    # -- accounts -----------------------------------------------------------------------------

    def _estimate(self, job: JobView) -> float:
        return self._policies.cost(job.prompt_tokens, self._policies.predictor.predict(job))

    def _settle(self, tenant: str, difference: float) -> None:
        self._policies.fairness.settle(tenant, difference)
        self._touched.add(tenant)

    def _fly(self, flight: Flight) -> None:
        self._state.flights[flight.job.id] = flight
        worker = self._state.workers.get(flight.worker)
        if worker is not None:
            worker.take(flight.estimate)

    def _release(self, flight: Flight) -> None:
        worker = self._state.workers.get(flight.worker)
        if worker is not None:
            worker.release(flight.estimate)

    def _land(self, flight: Flight, difference: float) -> None:
        """An attempt is over: free its slot and settle its tenant's account."""
        self._release(flight)
        self._settle(flight.job.tenant, difference)

    def _left(self, tenant: str) -> None:
        """Tell fairness when a tenant has nothing queued any more."""
        if self._state.forget_if_empty(tenant):
            self._policies.fairness.left(tenant)

    def _queue_view(self, job: JobView) -> QueueView:
        state = self._state
        queue = state.queues.get(job.tenant)
        return QueueView(
            len(queue.jobs) + queue.unread if queue else 0,
            queue.cost if queue else 0.0,
            len(state.tenant_of) + state.unread,
            state.cost,
            self._mean_kv_used(),
            len(state.workers),
        )

    def _mean_kv_used(self) -> float:
        if self._kv_used is None:
            workers = self._state.workers.values()
            self._kv_used = sum(w.kv_used for w in workers) / len(workers) if workers else 0.0
        return self._kv_used

    # -- decisions ----------------------------------------------------------------------------

    def _expire(self, now: float, actions: list[Action]) -> None:
        while self._deadlines and self._deadlines[0][0] < now:
            queued = self._state.withdraw(heapq.heappop(self._deadlines)[1])
            if queued is not None:
                actions.append(Expire(queued.job.id, queued.job.tenant, queued.entry))
                self._left(queued.job.tenant)

    def _dispatch(self, now: float, actions: list[Action]) -> None:
        if not self._state.tenant_of:
            return
        cluster = ClusterView(self._open_workers(now), now)
        room = sum(worker.free for worker in cluster.workers)
        chosen = self._choose(min(room, len(self._state.tenant_of)))
        if not chosen:
            return
        jobs = [queued.job for queued in chosen]
        estimates = [queued.estimate for queued in chosen]
        routes = self._policies.routing.route(jobs, estimates, cluster)
        for queued, worker in zip(chosen, routes, strict=True):
            if worker is None:
                self._settle(queued.job.tenant, -queued.estimate)
                self._enqueue(queued)
            else:
                actions.append(self._sent(queued, worker))

    def _open_workers(self, now: float) -> tuple[WorkerView, ...]:
        """Return the workers with a free slot, in the order of their ids."""
        gate, pace, workers = self._policies.gate, self._pace.value, self._state.workers
        views = []
        for name in sorted(workers):
            if workers[name].hold_until > now:
                continue
            free = gate.free(workers[name].view(pace))
            if free > 0:
                views.append(workers[name].view(pace, free))
        return tuple(views)

    def _choose(self, count: int) -> list[Queued]:
        """Take up to `count` jobs from the queues, each charged as it is taken."""
        fairness, state = self._policies.fairness, self._state
        chosen: list[Queued] = []
        while len(chosen) < count:
            tenant = fairness.pick()
            if tenant is None:
                break
            queued = state.dequeue(tenant)
            if queued is not None:
                fairness.charge(tenant, queued.estimate)
                self._touched.add(tenant)
                chosen.append(queued)
            self._left(tenant)
        return chosen

    def _sent(self, queued: Queued, worker: str) -> Dispatch:
        job = queued.job
        flight = Flight(job, queued.entry, worker, job.attempt + 1, queued.estimate)
        self._fly(flight)
        return Dispatch(job.id, job.tenant, queued.entry, worker, flight.attempt, queued.estimate)
