"""The virtual world: the live scheduler, engines instead of GPUs, and a heap instead of time.

The scheduler is the one that runs live. The world tells it what happens, as Redis and the workers
do; `carrying` applies what it decides, `books` keeps what came of it. Time is in milliseconds, as
the engines count it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf, nan

from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, Usage
from parallax.core.roles import PREFILL
from parallax.engine.profiles import Profile
from parallax.engine.request import Change
from parallax.scheduling.events import (
    AttemptBegan,
    Event,
    JobArrived,
    PrefillEnded,
    WorkerLost,
)
from parallax.scheduling.scheduler import Scheduler
from parallax.sim.books import Books
from parallax.sim.carrying import Carrier
from parallax.sim.loop import Loop
from parallax.sim.outcome import JobOutcome
from parallax.sim.spec import RunSpec
from parallax.sim.timed import Timed
from parallax.sim.workers import Attempt, SimWorker, WorkerFactory, ended, view_of

Followed = Callable[[JobOutcome], Iterable[Timed]]


class World(Loop):
    """See the module's docstring. `play` runs it; afterwards `books` says what became of all."""

    def __init__(
        self,
        spec: RunSpec,
        scheduler: Scheduler,
        follow: Followed | None = None,
        profile: Profile | None = None,
        keep: Callable[[JobOutcome], None] | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.scheduler, self.follow = spec, scheduler, follow
        self.factory = WorkerFactory(spec.fleet, spec.policies.batching, spec.seed, profile)
        self.workers: dict[str, SimWorker] = {}
        self.books = Books(spec.sample_every_s, keep)
        self.open = 0  # jobs that have arrived and not ended
        self.arriving = True
        self.jobs: dict[str, Job] = {}  # those that are open
        self._events: list[Event] = []
        self._deferred: list[Event] = []  # news that can wait for the next decision
        self._touched: dict[str, SimWorker] = {}
        self._reports = deque[tuple[float, SimWorker]]()  # that are due later, by time
        self._wake_ms = inf
        self.carrier = Carrier(self)
        self._hedging = spec.policies.hedging.name != "never"

    # -- time -------------------------------------------------------------------------------------

    def play(self, jobs: Iterable[Timed]) -> None:
        """Run until every job has ended and nothing more can happen."""
        tick_ms = self.spec.tick_s * 1000
        for worker in self.factory.first():
            self.join(worker)
        for at_s, job in jobs:
            at_ms = at_s * 1000
            came_ms = at_ms if not tick_ms else -(-at_ms // tick_ms) * tick_ms
            while self._events or self.next_ms() < came_ms:
                if came_ms <= self.now_ms:
                    break  # others that arrive in this very moment are decided together
                self._next()
            self.now_ms = max(self.now_ms, came_ms)
            self.arrive(job, at_s)
            if not tick_ms:
                self.decide()
        self.arriving = False
        self.decide()
        while self._heap:
            self._next()

    def _next(self) -> None:
        """Decide on the events so far, or let the next event happen."""
        if not self._events:
            self.step()
        self.decide()

    # -- what happens -----------------------------------------------------------------------------

    def arrive(self, job: Job, at_s: float) -> None:
        """A new job arrives."""
        deadline = inf if job.deadline_s is None else at_s + job.deadline_s
        self.jobs[job.id] = job
        self.books.outcomes[job.id] = JobOutcome(
            job.id, job.tenant, job.session, at_s, job.prompt_tokens,
            deadline_s=nan if deadline == inf else deadline,
        )  # fmt: skip
        self.open += 1
        view = view_of(job, at_s, deadline, 0)
        self._events.append(JobArrived(view, job.id))

    def join(self, worker: SimWorker) -> None:
        """A worker serves from now on."""
        self.workers[worker.id] = worker
        self._events.append(worker.report())

    def lose(self, worker: SimWorker) -> None:
        """Notice that a worker is gone: its jobs arrive again."""
        if self.workers.get(worker.id) is not worker:
            return
        del self.workers[worker.id]
        self.books.retire(worker)
        self._events.append(WorkerLost(worker.id))
        for attempt in worker.attempts.values():
            used = None if worker.engine.has_begun(attempt.job.id) else Usage(0, 0)
            self.hear(ended(worker, attempt, None, used))
            if not self._elsewhere(attempt.job.id):
                self._again(attempt)

    def _elsewhere(self, job_id: str) -> bool:
        return any(job_id in worker.attempts for worker in self.workers.values())

    def _again(self, attempt: Attempt) -> None:
        job = attempt.job
        outcome = self.books.outcomes[job.id]
        if attempt.number >= job.max_attempts:
            self.end(outcome, Outcome.DEAD)
            return
        self.books.counters["retries"] += 1
        outcome.first_token_s = nan
        deadline = inf if job.deadline_s is None else outcome.arrival_s + job.deadline_s
        view = view_of(job, outcome.arrival_s, deadline, attempt.number)
        self._events.append(JobArrived(view, job.id))

    def _looked_at(self, given: tuple[SimWorker, float]) -> None:
        worker, due_ms = given
        if worker.due_ms == due_ms and worker.alive:
            worker.due_ms = None
            self._note(worker, worker.engine.run_until(due_ms))
            self._report(worker)
            self._touched[worker.id] = worker

    def _note(self, worker: SimWorker, changes: list[Change]) -> None:
        """Tell the scheduler what an engine has done."""
        for change in changes:
            attempt = worker.changed(change)
            if attempt is None:
                continue
            job, outcome = attempt.job, self.books.outcomes[change.id]
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
        """Let a worker report at the end of a step, or later when it is due."""
        due_ms = max(worker.reported_ms + self.spec.report_s * 1000, worker.stale_until_ms)
        if self.now_ms >= due_ms:
            worker.reported_ms = self.now_ms
            self._deferred.append(worker.report())
        elif not worker.reporting:
            worker.reporting = True
            self._reports.append((due_ms, worker))

    def _report_late(self) -> None:
        """Let those report who could not with their last news: they may be idle since.

        Else what they said in the midst of their work would stand for as long as nobody sends more.
        """
        while self._reports and self._reports[0][0] <= self.now_ms:
            worker = self._reports.popleft()[1]
            worker.reporting = False
            if worker.alive and self.workers.get(worker.id) is worker:
                self._report(worker)

    def _completed(
        self, worker: SimWorker, attempt: Attempt, outcome: JobOutcome, output: int
    ) -> None:
        if attempt.prefilled_by:
            attempt.cached = outcome.cached_tokens
        usage = attempt.usage(self.now_ms, output)
        self.hear(ended(worker, attempt, Outcome.COMPLETED, usage))
        if outcome.outcome:
            return  # the other attempt was faster
        outcome.output_tokens, outcome.cached_tokens = output, attempt.cached
        # Seconds to milliseconds and back may be a breath off.
        outcome.dispatched_s = max(outcome.arrival_s, attempt.since_ms / 1000)
        outcome.worker = worker.id
        outcome.finished_s = self.now_ms / 1000
        self.end(outcome, Outcome.COMPLETED)

    def end(self, outcome: JobOutcome, how: Outcome) -> None:
        outcome.outcome = how.value
        self.open -= 1
        self.jobs.pop(outcome.id, None)
        if self.follow is not None:
            for turn in self.follow(outcome):
                self.at(turn[0] * 1000, lambda given: self.arrive(given[1], given[0]), turn)
        self.books.ended(outcome, self.workers.values())

    # -- decisions --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Let the scheduler react to the events of now, and carry out its decisions."""
        self._report_late()
        while self._events:
            events = self._deferred + self._events if self._deferred else self._events
            self._deferred, self._events = [], []
            self.carrier.carry_out(self.scheduler.handle(events, self.now_ms / 1000))
        for worker in self._touched.values():
            self._plan(worker)
        self._touched.clear()
        if self._hedging:
            self._set_alarm()
        if self.now_ms >= self.books.sample_at_ms:
            self.books.sample(self.now_ms, self.scheduler, self.workers.values())

    def _set_alarm(self) -> None:
        """Ask the scheduler again when it wants to be asked."""
        wake_s = self.scheduler.next_wake()
        if wake_s is not None and wake_s * 1000 < self._wake_ms:
            self._wake_ms = wake_s * 1000
            self.at(self._wake_ms, self._alarm)

    def _alarm(self, _: None) -> None:
        self._wake_ms = inf
        deferred, self._deferred = self._deferred, []
        # A time in ms and back may round down: timers that are due at this moment are meant.
        self.carrier.carry_out(self.scheduler.handle(deferred, self.now_ms / 1000 + 1e-9))

    def _plan(self, worker: SimWorker) -> None:
        due_ms = worker.engine.next_change_ms()
        if due_ms is not None and due_ms != worker.due_ms:
            worker.due_ms = due_ms
            self.at(due_ms, self._looked_at, (worker, due_ms))

    def catch_up(self, worker: SimWorker) -> None:
        """Let a worker's engine be where the clock is."""
        self._note(worker, worker.engine.run_until(self.now_ms))
        self._touched[worker.id] = worker

    def fed(self, worker: SimWorker) -> None:
        """An engine has been given something. Amid a long step it says so when that has ended."""
        row = worker.engine.row
        if row is None or row.steps > 1:
            self._report(worker)

    def hear(self, event: Event) -> None:
        """Let the scheduler hear of something at its next decision."""
        self._events.append(event)

    def tell(self, worker: SimWorker) -> None:
        """Let a worker report at once."""
        self._events.append(worker.report())

    def close(self) -> None:
        """Close the books."""
        for worker in self.workers.values():
            self.books.retire(worker)
        self.books.give_rest()
