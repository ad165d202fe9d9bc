"""Random histories of a cell, played into a scheduler while a referee keeps the books.

The referee knows what every job and every attempt is worth and where it is; it checks the laws
after each batch of events. It believes nothing the scheduler says of itself that it can count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import inf
from random import Random

import pytest

from parallax.core.cost import TokenCost
from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import FAIRNESS, ORDERING, ROUTING
from parallax.scheduling.actions import (
    Action,
    Admitted,
    Cancel,
    Dispatch,
    Expire,
    Reject,
    SaveAccounts,
)
from parallax.scheduling.events import (
    AttemptEnded,
    AttemptMoved,
    DispatchRefused,
    Event,
    JobArrived,
    JobWithdrawn,
    TenantConfigured,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.scheduler import Scheduler, build_scheduler

TENANTS = ("a", "b", "c")
PREFETCH = 1


def compositions() -> list[Policies]:
    """Every routing policy once, and every fairness policy with every ordering policy."""
    routed = [Policies(routing=PolicyChoice(name)) for name in ROUTING]
    return routed + [
        Policies(fairness=PolicyChoice(fairness), ordering=PolicyChoice(ordering))
        for fairness in FAIRNESS
        for ordering in ORDERING
    ]


every_composition = pytest.mark.parametrize(
    "policies",
    compositions(),
    ids=lambda p: f"{p.routing.name}-{p.fairness.name}-{p.ordering.name}",
)


@dataclass(slots=True)
class Flight:
    """An attempt as the referee knows it."""

    job: JobView
    worker: str
    attempt: int
    estimate: float


@dataclass(slots=True)
class History:
    """Makes events that could have happened, and checks what the scheduler does with them."""

    scheduler: Scheduler
    random: Random
    deadlines: tuple[float, ...] = (inf, inf, 0.1, 3.0)  # seconds after the arrival
    now: float = 100.0
    waiting: dict[str, JobView] = field(default_factory=dict)
    flights: dict[str, Flight] = field(default_factory=dict)
    stopped: list[Flight] = field(default_factory=list)  # told to stop; their ends are awaited
    slots: dict[str, int] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)  # worker -> end of its pause
    draining: set[str] = field(default_factory=set)
    gone: Counter[str] = field(default_factory=Counter)
    actions: list[Action] = field(default_factory=list)
    admitted: Counter[str] = field(default_factory=Counter)
    _serial: int = 0

    def play(self, batches: int) -> None:
        """Play so many batches of events, checking the laws after each."""
        for _ in range(batches):
            self.now += self.random.choice((0.0, 0.001, 0.2, 5.0))
            events = [event for _ in range(self.random.randrange(6)) for event in self._event()]
            self.tell(events)

    def tell(self, events: list[Event]) -> list[Action]:
        """Play these events; note and check what is decided."""
        actions = self.scheduler.handle(events, self.now)
        self.actions += actions
        for action in actions:
            self._decided(action)
        self.check()
        return actions

    def drain(self) -> None:
        """Let everything come to an end: what waits is withdrawn, what flies or stops has ended."""
        while self.waiting or self.flights or self.stopped:
            self.now += 1.0
            gone = list(self.waiting)
            self.waiting.clear()
            self.gone.update(gone)
            ends = [*self.flights.values(), *self.stopped]
            outcomes = [Outcome.COMPLETED] * len(self.flights) + [None] * len(self.stopped)
            self.gone.update(list(self.flights))
            self.flights.clear()
            self.stopped.clear()
            events: list[Event] = [JobWithdrawn(name) for name in gone]
            self.tell(events + [self.ended(*end) for end in zip(ends, outcomes, strict=True)])

    # -- making events ------------------------------------------------------------------------

    def _event(self) -> list[Event]:
        kind = self.random.choices(
            ("arrive", "end", "worker", "withdraw", "again", "refuse", "lose", "move", "weigh",
             "stale", "stopped"),
            (30, 25, 6, 3, 3, 3, 1, 2, 1, 2, 2),
        )[0]  # fmt: skip
        made: list[Event] = getattr(self, f"_{kind}")()
        return made

    def _arrive(self) -> list[Event]:
        self._serial += 1
        random = self.random
        deadline = self.now + random.choice(self.deadlines)
        job = JobView(
            f"j{self._serial}", random.choice(TENANTS), random.randrange(2_000),
            random.randrange(1, 500), self.now, deadline=deadline,
        )  # fmt: skip
        self.waiting[job.id] = job
        return [JobArrived(job, f"e{self._serial}")]

    def _again(self) -> list[Event]:
        """The store tells of a job twice (a read was repeated)."""
        if not self.waiting:
            return []
        return [JobArrived(self.random.choice(list(self.waiting.values())), "e-again")]

    def _withdraw(self) -> list[Event]:
        if not self.waiting:
            return []
        job_id = self.random.choice(list(self.waiting))
        del self.waiting[job_id]
        self.gone[job_id] += 1
        return [JobWithdrawn(job_id)]

    def _end(self) -> list[Event]:
        flight = self._any_flight()
        if flight is None:
            return []
        del self.flights[flight.job.id]
        outcome = self.random.choice((Outcome.COMPLETED, Outcome.FAILED, None))
        events: list[Event] = [self.ended(flight, outcome)]
        if outcome is None:  # handed back: it arrives again with one attempt more
            events += self._returns(flight)
        else:
            self.gone[flight.job.id] += 1
        return events

    def ended(self, flight: Flight, outcome: Outcome | None) -> AttemptEnded:
        """Return the event that ends an attempt, with what it used."""
        job = flight.job
        used = Usage(job.prompt_tokens, self.random.randint(1, job.max_tokens), 0, 0.5, 0.1)
        return AttemptEnded(
            job.id, job.tenant, flight.worker, flight.attempt, flight.estimate, outcome, used
        )

    def _returns(self, flight: Flight) -> list[Event]:
        old = flight.job
        job = JobView(
            old.id, old.tenant, old.prompt_tokens, old.max_tokens, old.arrival,
            deadline=old.deadline, attempt=flight.attempt,
        )  # fmt: skip
        self._serial += 1
        self.waiting[job.id] = job
        return [JobArrived(job, f"e{self._serial}")]

    def _stale(self) -> list[Event]:
        """An attempt ends that is not the one in flight: accounts settle.

        If it ends the job the one in flight is told to stop; else nothing moves.
        """
        flight = self._any_flight()
        if flight is None:
            return []
        other = Flight(flight.job, "w-unknown", flight.attempt, flight.estimate)
        wins = self.random.random() < 0.5
        if wins:
            self.gone[flight.job.id] += 1
            self.stopped.append(self.flights.pop(flight.job.id))
        return [self.ended(other, Outcome.COMPLETED if wins else None)]

    def _stopped(self) -> list[Event]:
        """An attempt that was told to stop has stopped."""
        if not self.stopped:
            return []
        return [self.ended(self.stopped.pop(), None)]

    def _worker(self) -> list[Event]:
        name = f"w{self.random.randrange(4)}"
        self.slots[name] = self.random.randint(1, 5)
        draining = self.random.random() < 0.15
        (self.draining.add if draining else self.draining.discard)(name)
        return [WorkerReported(name, self.slots[name], draining=draining)]

    def _lose(self) -> list[Event]:
        if not self.slots:
            return []
        name = self.random.choice(list(self.slots))
        del self.slots[name]
        self.draining.discard(name)
        self.held.pop(name, None)
        events: list[Event] = [WorkerLost(name)]
        for job_id, flight in list(self.flights.items()):
            if flight.worker == name:
                del self.flights[job_id]
                events += [*self._returns(flight), self._untold(flight)]
        events += [self._untold(flight) for flight in self.stopped if flight.worker == name]
        self.stopped = [flight for flight in self.stopped if flight.worker != name]
        self.random.shuffle(events)
        return events

    def _untold(self, flight: Flight) -> AttemptEnded:
        """Return what the store tells of an attempt whose worker is gone."""
        used = self.random.choice((None, Usage(0, 0)))
        return replace(self.ended(flight, None), usage=used)

    def _refuse(self) -> list[Event]:
        flight = self._any_flight()
        if flight is None:
            return []
        del self.flights[flight.job.id]
        requeue = self.random.random() < 0.5
        if requeue:
            self.waiting[flight.job.id] = flight.job
            self.held[flight.worker] = self.now + 0.05
        else:
            self.gone[flight.job.id] += 1
        return [DispatchRefused(flight.job.id, flight.worker, requeue)]

    def _move(self) -> list[Event]:
        flight = self._any_flight()
        thieves = [name for name in self.slots if flight and name != flight.worker]
        if flight is None or not thieves:
            return []
        flight.worker = self.random.choice(thieves)
        return [AttemptMoved(flight.job.id, flight.worker)]

    def _weigh(self) -> list[Event]:
        weight = self.random.choice((0.5, 1.0, 4.0))
        return [TenantConfigured(self.random.choice(TENANTS), weight)]

    def _any_flight(self) -> Flight | None:
        flights = [f for f in self.flights.values() if f.worker in self.slots]
        return self.random.choice(flights) if flights else None

    # -- the laws -----------------------------------------------------------------------------

    def _decided(self, action: Action) -> None:
        if isinstance(action, Dispatch):
            job = self.waiting.pop(action.job_id)  # only what waits may be dispatched
            assert action.worker in self.slots
            assert action.worker not in self.draining
            assert action.attempt == job.attempt + 1
            assert action.estimate >= 0
            flight = Flight(job, action.worker, action.attempt, action.estimate)
            self.flights[job.id] = flight
            flying = (*self.flights.values(), *self.stopped)
            held = sum(f.worker == action.worker for f in flying)
            assert held <= self.slots[action.worker] + PREFETCH, "late binding"
        elif isinstance(action, Expire):
            assert self.waiting.pop(action.job_id).deadline < self.now
            self.gone[action.job_id] += 1
        elif isinstance(action, Reject):
            if self.waiting.pop(action.job_id, None):  # else it was withdrawn in this very batch
                self.gone[action.job_id] += 1
        elif isinstance(action, Cancel):
            assert self.gone[action.job_id] == 1, "only what is decided is stopped"
        elif isinstance(action, Admitted):
            self.admitted[action.job_id] += 1
            assert self.admitted[action.job_id] == 1, "a job is admitted once"
        else:
            assert isinstance(action, SaveAccounts)

    def check(self) -> None:
        """Check every law that must hold between two batches."""
        scheduler = self.scheduler
        assert scheduler.queued == len(self.waiting), "conservation: queued"
        flying = (*self.flights.values(), *self.stopped)
        assert scheduler.in_flight == len(flying), "conservation: in flight"
        assert sum(scheduler.held(t) for t in TENANTS) == len(self.waiting)
        counted = Counter(f.worker for f in flying)
        for name, count in scheduler.snapshot().in_flight.items():
            assert count == counted[name], "conservation: a worker's own count"
        assert all(count == 1 for count in self.gone.values()), "a job is gone once"
        self._work_conserving(counted)
        assert not [job for job in self.waiting.values() if job.deadline < self.now], "expiry"

    def _work_conserving(self, counted: Counter[str]) -> None:
        if not self.waiting:
            return
        for name, slots in self.slots.items():
            open_ = name not in self.draining and self.held.get(name, 0.0) <= self.now
            assert not open_ or counted[name] >= slots + PREFETCH, "work conservation"


def history(policies: Policies, seed: int) -> History:
    """Return a history that has not begun."""
    return History(build_scheduler(policies, seed), Random(seed))


def consumed(event: AttemptEnded) -> float:
    """Return the true cost of an attempt."""
    if event.usage is None:
        return event.estimate
    return TokenCost()(event.usage.prompt_tokens, event.usage.output_tokens)
