"""The scheduler: events in, actions out.

It never waits, talks to nobody, never asks the time and never rolls its own dice. The service feeds
it from Redis, the simulator from a virtual clock, the tests from literals: the same code decides in
all three. The same settings, seed and events give the same actions.

    arrivals -> admission -> tenant queues -> fairness -> ordering -> gate -> routing -> Dispatch

Four rules hold it together:
1. *Late binding.* A job is dispatched only when the gate says that a worker has a slot for it;
   fairness and ordering act on everything that is still queued.
2. *Cost, not requests.* A tenant is charged the estimate at dispatch and the difference to what was
   computed when the attempt ends, whatever its end.
3. *No oracle.* Policies see `JobView`, which has no true output length.
4. *Conservation.* A job is queued, in flight, or gone with an action that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from parallax.core.lifecycle import Outcome
from parallax.core.model import Slo, WorkerView
from parallax.core.settings import Policies
from parallax.policies.interfaces import AdmissionObserver
from parallax.scheduling.actions import Action, Admitted, Cancel, Dispatch
from parallax.scheduling.attempts import Attempts
from parallax.scheduling.composition import Composition, compose
from parallax.scheduling.eligibility import ANSWER, Need
from parallax.scheduling.events import (
    AccountRestored,
    AttemptBegan,
    AttemptEnded,
    AttemptMoved,
    AttemptRestored,
    AttemptsHeld,
    BacklogMeasured,
    DispatchRefused,
    Event,
    JobArrived,
    JobWithdrawn,
    PrefillEnded,
    TenantConfigured,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.handovers import Handovers, restarted
from parallax.scheduling.hedges import Hedges
from parallax.scheduling.in_flight import HEDGE, STOPPING, InFlight, dispatch_of
from parallax.scheduling.line import Line, refusal
from parallax.scheduling.load import Load, LoadMeter
from parallax.scheduling.memory import LEARNING, Memory
from parallax.scheduling.queues import Queued
from parallax.scheduling.room import Room
from parallax.scheduling.snapshot import Snapshot, load_of, queue_view, snapshot_of
from parallax.scheduling.thieves import Thieves
from parallax.scheduling.versions import Versions
from parallax.scheduling.watching import Watcher


class Scheduler:
    """Decides; see the module's docstring. One instance per leader, never shared."""

    def __init__(self, policies: Composition) -> None:
        self._policies = policies
        self._fleet = Fleet(policies.gate)
        self._versions = Versions(
            policies.routing, policies.candidate, policies.rollout, policies.slo
        )
        self._hedges = Hedges(policies.hedging) if policies.hedging else None
        self._thieves = Thieves(policies.stealing) if policies.stealing else None
        admission = policies.admission
        observer = admission if isinstance(admission, AdmissionObserver) else None
        self._line = Line(policies.fairness, policies.ordering, observer)
        self._handovers, self._meter = Handovers(), LoadMeter()
        self._rejected: set[str] = set()
        self._attempts = Attempts(self._line, self._fleet, policies.cost)
        learning = (policies.predictor, self._fleet, policies.hedging, policies.rollout)
        self.memory = Memory(dict(zip(LEARNING, learning, strict=True)))

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody of every placement."""
        self._versions.watcher = watcher

    def handle(self, events: Sequence[Event], now: float) -> list[Action]:
        """Take note of a batch of events and return what to do. O((events + dispatches) log n)."""
        actions: list[Action] = []
        self._rejected.clear()
        for event in events:
            _REACT[type(event)](self, event, now, actions)
        self._attempts.release_overdue(now)
        actions += self._line.expired(now)
        if self._handovers:
            self._hand_over(now, actions)
        if self._line:
            self._dispatch(now, actions)
        if self._hedges is not None:
            self._hedge(self._hedges, now, actions)
        lanes = self._line.queues.lanes
        if self._thieves is not None and "" not in lanes:
            actions += self._thieves.steal(self._fleet, self._versions, lanes, now)
        accounts = self._line.saved()
        if accounts is not None:
            actions.append(accounts)
        return actions

    def next_wake(self) -> float | None:
        """Return when `handle` has something to do although nothing happens; None if never."""
        return self._hedges.next_due(self._attempts) if self._hedges is not None else None

    def restore(self, accounts: dict[str, float]) -> None:
        """Go on with the accounts of a former leader."""
        self._policies.fairness.restore(accounts)

    def snapshot(self) -> Snapshot:
        """Return what an observer may see. O(tenants + workers)."""
        return snapshot_of(self._line.queues, self._fleet, self._hedges)

    def held(self, tenant: str) -> int:
        """Return how many jobs of this tenant are queued here. O(1)."""
        return self._line.queues.held(tenant)

    def hashes(self, tenant: str | None = None) -> int:
        """Return how many hashes prefixes have: of a tenant's queued jobs, or of all jobs. O(1)."""
        queues = self._line.queues
        if tenant is not None:
            return queues.hashes_of(tenant)
        return queues.prefix_hashes + self._attempts.hashes

    def knows(self, job_id: str) -> bool:
        """Whether this job is queued here or in flight. O(1)."""
        holders = (self._line.queues.tenant_of, self._attempts, self._handovers.waiting)
        return any(job_id in jobs for jobs in holders)

    @property
    def queued(self) -> int:
        """How many jobs are queued here in all."""
        return len(self._line) + len(self._handovers)

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight."""
        return len(self._attempts)

    def load(self, now: float) -> Load:
        """Return what an autoscaler may see. O(workers)."""
        return load_of(self._line.queues, self._fleet, self._meter, now)

    @property
    def workers(self) -> tuple[str, ...]:
        """The live workers, in order."""
        return tuple(sorted(self._fleet.workers))

    @property
    def rollout_ended(self) -> str:
        """The verdict that ended a candidate's rollout, promote or rollback; "" without one."""
        return self._versions.ended

    # -- events -------------------------------------------------------------------------------

    def _arrived(self, event: JobArrived, now: float, actions: list[Action]) -> None:
        job, queues = event.job, self._line.queues
        known = queues.tenant_of.get(job.id)
        if known is not None:
            queues.by_tenant[known].jobs[job.id].entry = event.entry
            return
        if job.id in self._rejected:  # it was read twice in this batch
            return
        if job.id in self._attempts or job.id in self._handovers.waiting:
            self._forget(job.id)
        output = self._policies.predictor.predict(job)
        estimate = self._policies.cost(job.prompt_tokens, output)
        if job.attempt == 0:
            self._meter.offered(estimate, now)
            view = queue_view(self._line.queues, self._fleet, job.tenant, len(self._attempts), now)
            rejection = self._policies.admission.admit(job, estimate, view, now)
            if rejection is not None:
                actions.append(refusal(job, event.entry, rejection))
                self._rejected.add(job.id)
                return
            actions.append(Admitted(job.id, job.tenant))
        self._enqueue(Queued(job, event.entry, estimate, output, now))

    def _withdrawn(self, event: JobWithdrawn, now: float, actions: list[Action]) -> None:
        self._line.withdraw(event.job_id)
        self._forget(event.job_id)

    def _forget(self, job_id: str) -> None:
        """Its attempts decide nothing any more, and the prompt that was computed is no use."""
        prefilled = self._handovers.take(job_id)
        if prefilled is not None:
            self._line.refund(prefilled)
        self._attempts.stop_all(job_id)

    def _first_token(self, event: AttemptBegan, now: float, actions: list[Action]) -> None:
        attempt = self._attempts.find(event.job_id, event.worker, event.attempt)
        if attempt is None:
            return
        self._fleet.first_token(attempt)
        if self._hedges is not None and attempt.hedged and self._hedges.policy.cancels_at_start():
            self._stop(self._attempts.other(attempt), now, actions)

    def _prefill_ended(self, event: PrefillEnded, now: float, actions: list[Action]) -> None:
        attempt = self._attempts.find(event.job_id, event.worker, event.attempt)
        if attempt is None:
            return
        self._attempts.leave(attempt)
        spent = self._attempts.prompt_cost(attempt.job.prompt_tokens, event.cached_tokens)
        self._handovers.add(attempt, spent, now)

    def _ended(self, event: AttemptEnded, now: float, actions: list[Action]) -> None:
        used = event.usage
        attempt = self._attempts.find(event.job_id, event.worker, event.attempt)
        if attempt is None:
            self._attempts.settle_untracked(event)
            if event.outcome is not None:  # a worker that was believed dead: stop the others
                for left in self._attempts.of_job(event.job_id):
                    self._stop(left, now, actions)
            return
        other, stopped = self._attempts.other(attempt), attempt.standing == STOPPING
        consumed = self._attempts.release(attempt, used)
        if used is None:
            return
        if self._hedges is not None:
            self._hedges.over(attempt, now)
        self._versions.attempt_ended(attempt.job, attempt.worker, used)
        if event.outcome is None or stopped:
            return
        if other is not None:
            self._stop(other, now, actions)
        done = event.outcome is Outcome.COMPLETED
        if attempt.arm:
            waited = max(0.0, now - used.service_s - attempt.job.arrival)
            self._versions.judge(attempt.arm, attempt.job, used if done else None, waited)
        if done:
            self._policies.predictor.learn(attempt.job, used.output_tokens)
            self._fleet.learn(attempt, used, consumed, now)

    def _stop(self, slower: InFlight | None, now: float, actions: list[Action]) -> None:
        """Another attempt of the same job was faster than this one, if there is one."""
        if slower is None:
            return
        self._attempts.stop(slower)
        if self._hedges is not None:
            self._hedges.over(slower, now)
        actions.append(Cancel(slower.job.id, slower.worker, slower.attempt))

    def _restored(self, event: AttemptRestored, now: float, actions: list[Action]) -> None:
        job = event.job
        output = self._policies.predictor.predict(job)
        done = bool(job.prefilled_by)
        attempt = InFlight(
            job, "", event.worker, event.attempt, event.estimate,
            0.0 if done else job.prompt_tokens, output, now, done,
            weight=self._line.weight(job.tenant),
        )  # fmt: skip
        spent = self._attempts.prompt_cost(job.prompt_tokens, event.cached_tokens)
        attempt.spent = spent if done else 0.0
        first = self._attempts.first(job.id)
        if event.prefilled:
            self._handovers.add(attempt, spent, now)
        elif first is None:
            self._attempts.track(attempt)
        elif self._attempts.other(first) is None:
            attempt.hedged = first.hedged = True
            self._attempts.track(attempt)

    def _moved(self, event: AttemptMoved, now: float, actions: list[Action]) -> None:
        self._attempts.move(event.job_id, event.thief)

    def _held(self, event: AttemptsHeld, now: float, actions: list[Action]) -> None:
        self._attempts.release_unheld(event.worker, event.held, event.since)

    def _refused(self, event: DispatchRefused, now: float, actions: list[Action]) -> None:
        tried = [a for a in self._attempts.of_job(event.job_id) if a.worker == event.worker]
        if not tried:
            return
        (attempt,) = tried
        hedge = attempt.standing == HEDGE
        if event.requeue:
            self._fleet.hold(event.worker, now)
        if event.requeue and attempt.job.prefilled_by:  # it stays charged
            self._attempts.leave(attempt)
            self._handovers.again(attempt, now)
            return
        self._attempts.void(attempt)
        if event.requeue and not hedge:
            self._enqueue(Queued(attempt.job, attempt.entry, attempt.estimate, attempt.output, now))

    def _reported(self, event: WorkerReported, now: float, actions: list[Action]) -> None:
        if self._fleet.report(event, now):
            self._attempts.worker_joined(event.worker)

    def _lost(self, event: WorkerLost, now: float, actions: list[Action]) -> None:
        self._fleet.remove(event.worker)
        self._attempts.worker_lost(event.worker, now)
        self._versions.worker_lost(event.worker)
        if self._thieves is not None:
            self._thieves.forget(event.worker)
        for queued in self._handovers.lost(event.worker):
            self._line.refund(queued)
            self._enqueue(restarted(queued))

    # -- accounts -----------------------------------------------------------------------------

    def _enqueue(self, queued: Queued) -> None:
        self._line.enqueue(queued, self._fleet.service_s(queued.estimate))

    # -- decisions ----------------------------------------------------------------------------

    def _dispatch(self, now: float, actions: list[Action]) -> None:
        """Send what fairness and ordering choose to workers that routing chooses."""
        while self._line and self._send(now, actions):
            pass

    def _send(self, now: float, actions: list[Action]) -> bool:
        """Place a batch; return whether what it left of the workers may be room for others."""
        room = Room(self._candidates(now))
        if not room:
            return False
        pace = self._fleet.service_s(1.0)
        chosen, sent = self._line.choose(room, pace, now, actions), 0
        for model, alike in room.groups(chosen):
            for arm, some in self._versions.by_arm(alike):
                workers = self._candidates(now, model)  # they show what the others have taken
                routes = self._versions.place(arm, some, workers, now)
                for queued, worker in zip(some, routes, strict=True):
                    if worker is None:
                        self._line.refund(queued)
                        self._enqueue(queued)
                    else:
                        actions.append(self._track(queued, worker, arm, now))
                        sent += 1
        return room.apart and 0 < sent == len(chosen)

    def _candidates(self, now: float, model: str = "") -> tuple[WorkerView, ...]:
        """Return the workers that new jobs that ask for this model may be sent to.

        No prompt is computed apart while computed ones wait to go on.
        """
        splits = self._versions.splits_phases and not self._handovers
        return self._fleet.open(now, Need(prefill=splits, model=model))

    def _track(self, queued: Queued, worker: str, arm: str, now: float) -> Dispatch:
        """Send a job to a worker: from now on it is an attempt in flight."""
        job = queued.job
        cached = self._versions.cached_tokens(job, worker, arm)
        uncached = 0.0 if job.prefilled_by else float(job.prompt_tokens - cached)
        attempt = InFlight(
            job, queued.entry, worker, job.attempt + 1, queued.estimate, uncached, queued.output,
            now, bool(job.prefilled_by), arm, weight=queued.weight, spent=queued.spent,
        )  # fmt: skip
        self._attempts.track(attempt)
        if self._hedges is not None and not job.prefilled_by:
            self._hedges.sent(attempt, self._fleet, now)
        return dispatch_of(attempt)

    def _hand_over(self, now: float, actions: list[Action]) -> None:
        """Send on the jobs whose prompts are computed, before any new ones."""
        room = Room(self._fleet.open(now, ANSWER))
        for model, waiting in room.groups(self._handovers.first(room)):
            workers = self._fleet.open(now, Need(model=model))
            routes = self._versions.place("", waiting, workers, now)
            for queued, worker in zip(waiting, routes, strict=True):
                if worker is not None:
                    self._handovers.take(queued.job.id)
                    actions.append(self._track(queued, worker, "", now))

    def _hedge(self, hedges: Hedges, now: float, actions: list[Action]) -> None:
        """Start hedges where they are due; each is charged like the first attempt."""
        for hedge in hedges.launch(self._attempts, self._fleet, self._versions, now):
            hedge.weight = self._line.charge(hedge.job.tenant, hedge.estimate)
            actions.append(dispatch_of(hedge, hedge=True))


#: No bound methods: they would keep a scheduler that is given up, beside what its successor reads.
_REACT: dict[type, Callable[[Scheduler, Any, float, list[Action]], None]] = {
    JobArrived: Scheduler._arrived, JobWithdrawn: Scheduler._withdrawn,
    AttemptBegan: Scheduler._first_token, PrefillEnded: Scheduler._prefill_ended,
    AttemptEnded: Scheduler._ended, AttemptRestored: Scheduler._restored,
    AttemptMoved: Scheduler._moved, AttemptsHeld: Scheduler._held,
    DispatchRefused: Scheduler._refused, WorkerReported: Scheduler._reported,
    WorkerLost: Scheduler._lost,
    TenantConfigured: lambda on, event, _now, _: on._line.weigh(event.tenant, event.weight),
    BacklogMeasured: lambda on, e, _now, _: on._line.queues.measured(e.tenant, e.unread),
    AccountRestored: lambda on, event, _now, _: on.restore({event.tenant: event.account}),
}  # fmt: skip


def build_scheduler(policies: Policies, seed: int, slo: Slo | None = None) -> Scheduler:
    """Return a new scheduler with the policies that the settings name; see `compose`."""
    return Scheduler(compose(policies, seed, slo))
