"""The virtual world: the live scheduler, engines instead of GPUs, and a heap instead of time.

The scheduler is the one that runs live; the world only carries out what it decides and tells it
what came of it, as Redis and the workers do. Time is in milliseconds, as the engines count it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from math import inf, nan
from typing import Any

from parallax.core.cost import TokenCost
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, Usage
from parallax.core.roles import PREFILL
from parallax.engine.profiles import Profile
from parallax.engine.request import Change
from parallax.scheduling.actions import (
    Action,
    Admitted,
    Cancel,
    Dispatch,
    Expire,
    Reject,
    SaveAccounts,
    Steal,
)
from parallax.scheduling.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptMoved,
    Event,
    JobArrived,
    PrefillEnded,
    WorkerLost,
)
from parallax.scheduling.scheduler import Scheduler
from parallax.sim.outcome import JobOutcome, Sample
from parallax.sim.spec import RunSpec
from parallax.sim.timed import Timed
from parallax.sim.workers import Attempt, SimWorker, WorkerFactory, attempt_of, view_of

_COST = TokenCost()
Callback = Callable[[Any], None]
Followed = Callable[[JobOutcome], Iterable[Timed]]


class World:
    """See the module's docstring. `play` runs it; afterwards `outcomes` says what became of all."""

    def __init__(
        self,
        spec: RunSpec,
        scheduler: Scheduler,
        follow: Followed | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.spec, self.scheduler, self.follow = spec, scheduler, follow
        self.factory = WorkerFactory(spec.fleet, spec.policies.batching, spec.seed, profile)
        self.workers: dict[str, SimWorker] = {}
        self.now_ms = 0.0
        self.outcomes: dict[str, JobOutcome] = {}
        self.samples: list[Sample] = []
        self.notes: list[str] = []
        self.counters = dict.fromkeys(
            ("dispatches", "hedges", "cancels", "steals", "handovers", "retries", "preemptions"), 0
        )
        self.busy_ms: dict[str, float] = {}
        self.offered: Callable[[float, float], None] | None = None  # told of each arrival's cost
        self.served_cost = 0.0
        self.open = 0  # jobs that have arrived and not ended
        self.arriving = True
        self._jobs: dict[str, Job] = {}
        self._heap: list[tuple[float, int, Callback, Any]] = []
        self._serial = 0
        self._events: list[Event] = []
        self._deferred: list[Event] = []  # news that can wait for the next decision
        self._touched: dict[str, SimWorker] = {}
        self._wake_ms = inf
        self._sample_ms = 0.0
        self._carry_out: dict[type, Callable[[Any], None]] = {
            Dispatch: self._dispatch,
            Cancel: self._cancel,
            Steal: self._steal,
            Reject: self._reject,
            Expire: self._expire,
            **dict.fromkeys((Admitted, SaveAccounts), lambda _: None),
        }
        self._hedging = spec.policies.hedging.name != "never"

    # -- time -------------------------------------------------------------------------------------

    def play(self, jobs: Iterable[Timed]) -> None:
        """Run until every job has ended and nothing more can happen."""
        heap, tick_ms = self._heap, self.spec.tick_s * 1000
        for worker in self.factory.first():
            self.join(worker)
        for at_s, job in jobs:
            at_ms = at_s * 1000
            came_ms = at_ms if not tick_ms else -(-at_ms // tick_ms) * tick_ms
            while self._events or (heap and heap[0][0] < came_ms):
                if came_ms <= self.now_ms:
                    break  # others that arrive in this very moment are decided together
                self._next()
            self.now_ms = max(self.now_ms, came_ms)
            self.arrive(job, at_s)
            if not tick_ms:
                self.decide()
        self.arriving = False
        self.decide()
        while heap:
            self._next()

    def at(self, at_ms: float, callback: Callback, argument: Any = None) -> None:
        """Do something at a time."""
        self._serial += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._serial, callback, argument))

    def _next(self) -> None:
        """Decide what has happened by now, or let the next thing happen."""
        if not self._events:
            self.now_ms, _, callback, argument = heapq.heappop(self._heap)
            callback(argument)
        self.decide()

    # -- what happens -----------------------------------------------------------------------------

    def arrive(self, job: Job, at_s: float) -> None:
        """A new job arrives."""
        deadline = inf if job.deadline_s is None else at_s + job.deadline_s
        self._jobs[job.id] = job
        self.outcomes[job.id] = JobOutcome(
            job.id, job.tenant, job.session, at_s, job.prompt_tokens,
            deadline_s=nan if deadline == inf else deadline,
        )  # fmt: skip
        self.open += 1
        view = view_of(job, at_s, deadline, 0)
        if self.offered is not None:
            self.offered(self.scheduler.estimate(view), self.now_ms / 1000)
        self._events.append(JobArrived(view, job.id))

    def join(self, worker: SimWorker) -> None:
        """A worker serves from now on."""
        self.workers[worker.id] = worker
        self._events.append(worker.report())

    def lose(self, worker: SimWorker) -> None:
        """It is noticed that a worker is gone: what it held arrives again."""
        if self.workers.get(worker.id) is not worker:
            return
        del self.workers[worker.id]
        self._retire(worker)
        self._events.append(WorkerLost(worker.id))
        for attempt in worker.attempts.values():
            used = None if worker.engine.has_begun(attempt.job.id) else Usage(0, 0)
            self._events.append(self._ended(worker, attempt, None, used))
            if not self._elsewhere(attempt.job.id):
                self._again(attempt)

    def _elsewhere(self, job_id: str) -> bool:
        return any(job_id in worker.attempts for worker in self.workers.values())

    def _again(self, attempt: Attempt) -> None:
        job = attempt.job
        outcome = self.outcomes[job.id]
        if attempt.number >= job.max_attempts:
            self._end(outcome, Outcome.DEAD)
            return
        self.counters["retries"] += 1
        outcome.first_token_s = nan
        deadline = inf if job.deadline_s is None else outcome.arrival_s + job.deadline_s
        view = view_of(job, outcome.arrival_s, deadline, attempt.number)
        self._events.append(JobArrived(view, job.id))

    def _looked_at(self, given: tuple[SimWorker, float]) -> None:
        worker, due_ms = given
        if worker.due_ms == due_ms and worker.alive:
            worker.due_ms = None
            self._note(worker, worker.engine.run_until(due_ms))
            self._touched[worker.id] = worker

    def _note(self, worker: SimWorker, changes: list[Change]) -> None:
        """Tell the scheduler what an engine has done."""
        for change in changes:
            attempt = worker.changed(change)
            if attempt is None:
                continue
            job, outcome = attempt.job, self.outcomes[change.id]
            if change.first_token:
                if outcome.first_token_s != outcome.first_token_s:  # none yet
                    outcome.first_token_s = change.at_ms / 1000
                if not change.finished:
                    began = AttemptBegan(job.id, worker.id, attempt.number)
                    (self._events if self._hedging else self._deferred).append(began)
            if not change.finished:
                continue
            if worker.role == PREFILL and not attempt.prefilled_by and (job.output_tokens or 2) > 1:
                outcome.cached_tokens = attempt.cached
                ended = PrefillEnded(job.id, worker.id, attempt.number, attempt.cached)
                self._events.append(ended)
            else:
                self._completed(worker, attempt, outcome, change.output_tokens)
        if changes:
            self._report(worker)

    def _report(self, worker: SimWorker) -> None:
        """Let a worker's report travel with its news, if one is due."""
        now, every = self.now_ms, self.spec.report_s * 1000
        if now - worker.reported_ms >= every and now >= worker.stale_until_ms:
            worker.reported_ms = now
            self._deferred.append(worker.report())

    def _completed(
        self, worker: SimWorker, attempt: Attempt, outcome: JobOutcome, output: int
    ) -> None:
        if attempt.prefilled_by:
            attempt.cached = outcome.cached_tokens
        usage = attempt.usage(self.now_ms, output)
        self.served_cost += _COST(usage.prompt_tokens - usage.cached_tokens, output)
        self._events.append(self._ended(worker, attempt, Outcome.COMPLETED, usage))
        if outcome.outcome:
            return  # the other attempt was faster
        outcome.output_tokens, outcome.cached_tokens = output, attempt.cached
        # Seconds to milliseconds and back may be a breath off.
        outcome.dispatched_s = max(outcome.arrival_s, attempt.since_ms / 1000)
        outcome.worker = worker.id
        outcome.finished_s = self.now_ms / 1000
        self._end(outcome, Outcome.COMPLETED)

    def _ended(
        self, worker: SimWorker, attempt: Attempt, outcome: Outcome | None, usage: Usage | None
    ) -> AttemptEnded:
        job = attempt.job
        return AttemptEnded(
            job.id, job.tenant, worker.id, attempt.number, attempt.estimate, outcome, usage
        )

    def _end(self, outcome: JobOutcome, how: Outcome) -> None:
        outcome.outcome = how.value
        self.open -= 1
        self._jobs.pop(outcome.id, None)
        if self.follow is not None:
            for turn in self.follow(outcome):
                self.at(turn[0] * 1000, lambda given: self.arrive(given[1], given[0]), turn)

    # -- what is decided --------------------------------------------------------------------------

    def decide(self) -> None:
        """Let the scheduler react to what has happened now, and carry out what it decides."""
        while self._events:
            events = self._deferred + self._events if self._deferred else self._events
            self._deferred, self._events = [], []
            self._act(self.scheduler.handle(events, self.now_ms / 1000))
        for worker in self._touched.values():
            self._plan(worker)
        self._touched.clear()
        if self._hedging:
            self._set_alarm()
        if self.now_ms >= self._sample_ms:
            self._sample()

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            self._carry_out[type(action)](action)

    def _set_alarm(self) -> None:
        """Ask the scheduler again when it wants to be asked."""
        wake_s = self.scheduler.next_wake()
        if wake_s is not None and wake_s * 1000 < self._wake_ms:
            self._wake_ms = wake_s * 1000
            self.at(self._wake_ms, self._alarm)

    def _alarm(self, _: None) -> None:
        self._wake_ms = inf
        deferred, self._deferred = self._deferred, []
        # A time in ms and back may be a breath too early: what is due at this moment is meant.
        self._act(self.scheduler.handle(deferred, self.now_ms / 1000 + 1e-9))

    def _plan(self, worker: SimWorker) -> None:
        due_ms = worker.engine.next_change_ms()
        if due_ms is not None and due_ms != worker.due_ms:
            worker.due_ms = due_ms
            self._serial += 1
            heapq.heappush(self._heap, (due_ms, self._serial, self._looked_at, (worker, due_ms)))

    def _dispatch(self, action: Dispatch) -> None:
        self.counters["dispatches"] += 1
        worker, job = self.workers[action.worker], self._jobs.get(action.job_id)
        outcome = self.outcomes[action.job_id]
        if job is None:
            return
        outcome.attempts += 1
        outcome.arm = action.arm
        if action.hedge:
            self.counters["hedges"] += 1
            outcome.hedged = True
        attempt = attempt_of(job, action, self.now_ms)
        worker.attempts[job.id] = attempt
        delay_ms = self.spec.hop_s * 1000
        if action.prefilled_by:
            self.counters["handovers"] += 1
            profile = worker.profile
            delay_ms += profile.transfer_setup_ms + profile.transfer_ms * job.prompt_tokens
        if delay_ms:
            self.at(self.now_ms + delay_ms, self._delivered, (worker, attempt))
        else:
            self._feed(worker, attempt)

    def _delivered(self, given: tuple[SimWorker, Attempt]) -> None:
        worker, attempt = given
        if worker.attempts.get(attempt.job.id) is attempt:  # not cancelled on its way
            self._feed(worker, attempt)

    def _feed(self, worker: SimWorker, attempt: Attempt) -> None:
        if not worker.alive:
            return  # nobody has noticed yet
        self.catch_up(worker)
        factor = self.factory.factor(attempt.job.id, attempt.number)
        try:
            worker.engine.add(worker.request(attempt, factor))
        except InvalidInput:
            del worker.attempts[attempt.job.id]
            self._events.append(self._ended(worker, attempt, Outcome.FAILED, Usage(0, 0)))
            self._end(self.outcomes[attempt.job.id], Outcome.FAILED)

    def _cancel(self, action: Cancel) -> None:
        worker = self.workers.get(action.worker)
        if worker is None or not worker.alive:
            return
        self.catch_up(worker)
        cancelled = worker.cancel(action.job_id)
        if cancelled is None:
            return
        self.counters["cancels"] += 1
        attempt, consumed = cancelled
        if attempt.prefilled_by:
            attempt.cached = self.outcomes[action.job_id].cached_tokens
        usage = attempt.stopped(self.now_ms, consumed)
        self._events.append(self._ended(worker, attempt, None, usage))

    def _steal(self, action: Steal) -> None:
        victim, thief = self.workers[action.victim], self.workers[action.thief]
        attempt = victim.attempts.get(action.job_id)
        if attempt is None or not (victim.alive and thief.alive):
            return
        self.catch_up(victim)
        if victim.engine.withdraw(action.job_id) is None:
            return
        del victim.attempts[action.job_id]
        self.counters["steals"] += 1
        thief.attempts[action.job_id] = attempt
        self._events.append(AttemptMoved(action.job_id, thief.id))
        self._feed(thief, attempt)

    def _reject(self, action: Reject) -> None:
        self._end(self.outcomes[action.job_id], Outcome.REJECTED)

    def _expire(self, action: Expire) -> None:
        self._end(self.outcomes[action.job_id], Outcome.EXPIRED)

    # -- what is measured -------------------------------------------------------------------------

    def _sample(self) -> None:
        self._sample_ms = self.now_ms + self.spec.sample_every_s * 1000
        workers = self.workers.values()
        used = sum(worker.engine.kv_used for worker in workers) / max(1, len(workers))
        scheduler = self.scheduler
        self.samples.append(
            Sample(self.now_ms / 1000, scheduler.queued, scheduler.in_flight, len(workers), used)
        )

    def _retire(self, worker: SimWorker) -> None:
        """Keep what a worker leaves behind for the books."""
        busy = self.busy_ms.get(worker.id, 0.0)
        self.busy_ms[worker.id] = busy + worker.engine.busy_ms
        self.counters["preemptions"] += worker.engine.preemptions

    @property
    def total_busy_s(self) -> float:
        """Seconds that all engines have worked so far."""
        working = sum(worker.engine.busy_ms for worker in self.workers.values())
        return (working + sum(self.busy_ms.values())) / 1000

    def catch_up(self, worker: SimWorker) -> None:
        """Let a worker's engine be where the clock is."""
        self._note(worker, worker.engine.run_until(self.now_ms))
        self._touched[worker.id] = worker

    def tell(self, worker: SimWorker) -> None:
        """Let a worker report at once."""
        self._events.append(worker.report())

    def close(self) -> None:
        """Close the books."""
        for worker in self.workers.values():
            self._retire(worker)
