"""A cell at its worst: attempts are doubled, stolen, handed over, lost, and told of twice.

The cell carries out what the scheduler decides, in any order and late. What ends a job is decided
here, once, as the store does it: by who is first. The ledger counts what every attempt really used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from random import Random

from parallax.core.cost import TokenCost
from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.scheduling.actions import Action, Cancel, Dispatch, Expire, Reject, Steal
from parallax.scheduling.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptMoved,
    Event,
    JobArrived,
    PrefillEnded,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.scheduler import Scheduler

COST = TokenCost()
SLOTS = 2


@dataclass(slots=True)
class Held:
    """An attempt on a worker."""

    job: JobView
    number: int
    estimate: float
    prefilled_by: str = ""
    begun: bool = False


@dataclass(slots=True)
class Cell:
    """Workers, what they hold, and what became of every job."""

    scheduler: Scheduler
    random: Random
    pools: bool = False
    silent: bool = False  # a broken cell: cancelled attempts never report
    mute: bool = False  # what was told of lost workers' attempts is lost
    now: float = 0.0
    workers: dict[str, dict[str, Held]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    arrived: set[str] = field(default_factory=set)
    jobs: dict[str, JobView] = field(default_factory=dict)
    computed: dict[str, str] = field(default_factory=dict)  # prompts that wait, and where
    hedges: int = 0
    steals: int = 0
    used: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _undone: list[Action] = field(default_factory=list)
    _serial: int = 0

    def play(self, steps: int) -> None:
        """Let so many things happen, then let everything come to an end."""
        for n in range(3):
            self._tell([self._joined(n)])
        for _ in range(steps):
            self.now += self.random.choice((0.0, 0.01, 0.3, 2.0))
            deed = self.random.choices(
                (self._arrive, self._begin, self._end, self._lose, self._join, self._carry_out),
                (30, 20, 35, 1, 2, 30),
            )[0]
            deed()
            self._check()
        self._drain()

    # -- what happens -------------------------------------------------------------------------

    def _tell(self, events: list[Event]) -> None:
        actions = self.scheduler.handle(events, self.now)
        for action in actions:
            if isinstance(action, Dispatch) and action.prefilled_by:
                self.computed.pop(action.job_id, None)
        self._undone += actions
        self.random.shuffle(self._undone)  # commands overtake each other
        self._undone.sort(key=lambda action: not isinstance(action, Dispatch))  # of one job do not

    def _arrive(self) -> None:
        self._serial += 1
        job = JobView(
            f"j{self._serial}", self.random.choice("ab"), self.random.randrange(1, 400), 200,
            self.now, self.random.choice(("", "s", "t")),
        )  # fmt: skip
        self.arrived.add(job.id)
        self.jobs[job.id] = job
        self._tell([JobArrived(job, job.id)])

    def _begin(self) -> None:
        """The first token of an attempt, perhaps told twice."""
        found = [(w, h) for w, held in self.workers.items() for h in held.values() if not h.begun]
        if found:
            worker, held = self.random.choice(found)
            held.begun = True
            began = AttemptBegan(held.job.id, worker, held.number)
            self._tell([began] * self.random.choice((1, 1, 2)))

    def _end(self) -> None:
        found = [(w, h) for w, held in self.workers.items() for h in held.values()]
        if not found:
            return
        worker, held = self.random.choice(found)
        if worker.startswith("p") and not held.prefilled_by:
            del self.workers[worker][held.job.id]
            self.computed[held.job.id] = worker
            self._tell([PrefillEnded(held.job.id, worker, held.number)])
            return
        del self.workers[worker][held.job.id]
        first = not self.ends[held.job.id]
        self.ends[held.job.id] += first
        self._over(worker, held, Outcome.COMPLETED if first else None)

    def _over(self, worker: str, held: Held, outcome: Outcome | None) -> None:
        """An attempt is over: count what it used, and tell of it."""
        usage = Usage(held.job.prompt_tokens, self.random.randrange(1, 100), 0, 0.5, 0.1)
        self.used[held.job.tenant] += COST(usage.prompt_tokens, usage.output_tokens)
        job = held.job
        self._tell([
            AttemptEnded(job.id, job.tenant, worker, held.number, held.estimate, outcome, usage)
        ])  # fmt: skip

    def _joined(self, number: int) -> WorkerReported:
        role = ("prefill" if number % 3 == 0 else "decode") if self.pools else "both"
        name = f"{role[0]}{number}"
        self.workers.setdefault(name, {})
        return WorkerReported(name, SLOTS, role=role)

    def _join(self) -> None:
        self._tell([self._joined(self.random.randrange(6))])

    def _lose(self) -> None:
        """A worker dies; what it held, and nobody else holds, arrives again."""
        decoders = [name for name in self.workers if not name.startswith("p")]
        name = self.random.choice(list(self.workers))
        if len(self.workers) < 3 or decoders == [name]:
            return
        lost = self.workers.pop(name)
        to_it = [a for a in self._undone if getattr(a, "worker", "") == name]
        self._undone = [a for a in self._undone if a not in to_it]
        events: list[Event] = [WorkerLost(name)]
        for job_id in [job_id for job_id, worker in self.computed.items() if worker == name]:
            del self.computed[job_id]
            self.used[self.jobs[job_id].tenant] += _prompt(self.jobs[job_id])
        for held in lost.values():
            self._again(held.job, held.number, events)
            self._untold(name, held, events)
        for sent in to_it:
            if isinstance(sent, Dispatch):  # it was in the worker's stream
                self.hedges += sent.hedge
                job = self.jobs[sent.job_id]
                self._again(job, sent.attempt, events)
                held = Held(job, sent.attempt, sent.estimate, sent.prefilled_by)
                self._untold(name, held, events)
        self.random.shuffle(events)
        self._tell(events)

    def _untold(self, worker: str, held: Held, events: list[Event]) -> None:
        """What the store tells of an attempt whose worker is gone; nobody knows what it used."""
        if self.mute:
            return
        job, waited = held.job, not held.begun
        usage = Usage(0, 0) if waited else None
        spent = _prompt(job) if held.prefilled_by else 0.0
        self.used[job.tenant] += max(spent, 0.0 if waited else held.estimate)
        events.append(AttemptEnded(
            job.id, job.tenant, worker, held.number, held.estimate, None, usage
        ))  # fmt: skip

    def _again(self, job: JobView, attempt: int, events: list[Event]) -> None:
        elsewhere = any(job.id in held for held in self.workers.values())
        on_its_way = any(isinstance(a, Dispatch) and a.job_id == job.id for a in self._undone)
        if not (elsewhere or on_its_way or self.ends[job.id]):
            events.append(JobArrived(replace(job, attempt=attempt, prefilled_by=""), job.id))

    # -- what is decided ----------------------------------------------------------------------

    def _carry_out(self) -> None:
        if not self._undone:
            return
        action = self._undone.pop(0)
        if isinstance(action, Dispatch):
            self._dispatched(action)
        elif isinstance(action, Cancel):
            held = self.workers.get(action.worker, {}).get(action.job_id)
            if held is not None and held.number == action.attempt:
                del self.workers[action.worker][action.job_id]
                if not self.silent:
                    self._over(action.worker, held, None)
                    back: list[Event] = []
                    self._again(held.job, held.number, back)  # the faster one died meanwhile
                    self._tell(back)
        elif isinstance(action, Steal):
            self._stolen(action)
        elif isinstance(action, Reject | Expire):
            self.ends[action.job_id] += 1

    def _dispatched(self, action: Dispatch) -> None:
        self.hedges += action.hedge
        job = self.jobs[action.job_id]
        held = Held(job, action.attempt, action.estimate, action.prefilled_by)
        if self.ends[action.job_id]:  # the store refuses what is done
            self._over(action.worker, held, None)
        else:
            assert action.job_id not in self.workers[action.worker], "twice on one worker"
            self.workers[action.worker][action.job_id] = held

    def _stolen(self, action: Steal) -> None:
        held = self.workers.get(action.victim, {}).get(action.job_id)
        room = action.thief in self.workers and action.job_id not in self.workers[action.thief]
        if held is None or held.begun or not room:
            return
        self.steals += 1
        self.workers[action.thief][action.job_id] = self.workers[action.victim].pop(action.job_id)
        self._tell([AttemptMoved(action.job_id, action.thief)])

    # -- laws ---------------------------------------------------------------------------------

    def _check(self) -> None:
        copies = Counter(name for held in self.workers.values() for name in held)
        assert max(copies.values(), default=0) <= 2, "more than two attempts of a job"
        assert max(self.ends.values(), default=0) <= 1, "a job ended twice"

    def _drain(self) -> None:
        for _ in range(50 * len(self.arrived) + 200):
            self.now += 0.5
            self._tell([])
            while self._undone:
                self._carry_out()
            self._begin()
            self._end()
            self._check()

    def left_over(self) -> list[str]:
        """Return what is not as it should be when everything has come to an end."""
        snapshot = self.scheduler.snapshot()
        wrong = [f"{job} has no end" for job in sorted(self.arrived) if not self.ends[job]]
        wrong += [f"{n} queued of {name}" for name, n in snapshot.queued.items() if n]
        wrong += [f"{n} in flight on {name}" for name, n in snapshot.in_flight.items() if n]
        if self.scheduler.in_flight or self.scheduler.queued:
            wrong.append("the scheduler is not idle")
        backlog = self.scheduler.load(self.now).backlog_cost
        if abs(backlog) > 1e-6:
            wrong.append(f"a backlog of {backlog}")
        return wrong


def _prompt(job: JobView) -> float:
    """What computing a prompt costs, the first token included."""
    return COST(job.prompt_tokens, 1)
