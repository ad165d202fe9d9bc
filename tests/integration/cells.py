"""A whole cell in one process, turned by hand: schedulers, workers and a producer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.intake import Ending, Intake, Receipt
from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Record, Results
from parallax.consumers.engines.interface import Engine
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.errors import ParallaxError, StoreFull, Unreachable
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import Job
from parallax.core.settings import Policies, SchedulerSettings, WorkerSettings
from parallax.core.words import Terminated
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from parallax.services.clock import SystemClock
from parallax.services.recoverer import Recoverer
from parallax.services.scheduler import SchedulerService
from parallax.services.service import Service
from parallax.services.term import Term
from parallax.telemetry.scheduling import SchedulingMetrics
from parallax.telemetry.tracing import OFF, Tracer
from tests.waiting import wait_until

QUICK = SchedulerSettings(
    lease_s=1.0,
    heartbeat_s=0.5,
    poll_s=0.01,
    block_s=0.001,
    sweep_s=0.1,
    repair_grace_s=2.0,
    idle_s=0.0,
    stall_s=5.0,
)


class StuckEngine(NoopEngine):
    """Takes requests and ends them only when it is let go."""

    stuck = True

    def _end(self, at: float) -> None:
        if not self.stuck:
            super()._end(at)
        elif self._requests:  # it looks again at the next turn
            self._host.at(at, lambda: self._end(at))


@dataclass(slots=True)
class Cell:
    """Everything of one cell. `connect` opens a new link to its server."""

    connect: Callable[[], Link]
    policies: Policies = field(default_factory=Policies)
    keys: Keys = field(default_factory=lambda: Keys("cell"))
    tracer: Tracer = OFF
    schedulers: list[SchedulerService] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.link = self.connect()

    def scheduler(self, settings: SchedulerSettings = QUICK) -> SchedulerService:
        """Add a scheduler."""
        name = f"scheduler-{len(self.schedulers)}"
        service = SchedulerService(
            self.connect(), self.keys, name, settings, self.policies,
            SystemClock(), SchedulingMetrics(), tracer=self.tracer,
        )  # fmt: skip
        self.schedulers.append(service)
        return service

    def worker(
        self, engine: Engine | None = None, role: str = "both", models: Sequence[str] = ()
    ) -> Worker:
        """Add a worker; it beats when it takes its turn."""
        links = (self.connect(), self.connect())
        settings = WorkerSettings(heartbeat_s=30.0, block_s=0.001, drain_s=0.0)
        worker = Worker(
            "w", links, self.keys, engine or NoopEngine(100), settings, SystemClock(), role=role,
            models=models, tracer=self.tracer,
        )  # fmt: skip
        worker.heartbeat.beat()
        self.workers.append(worker)
        return worker

    def submit(self, *jobs: Job, reply: str = "") -> list[Receipt]:
        """Submit jobs."""
        return Intake(self.link, self.keys).submit(jobs, reply)

    def turn(self) -> None:
        """Let everybody take one turn; a failed one is recovered from, as a service does."""
        for worker in self.workers:
            # Full: the key is renewed, only the report is not. Out of reach: it beats again.
            with contextlib.suppress(StoreFull, Unreachable):
                worker.heartbeat.beat()
        self.serve()

    def serve(self) -> None:
        """Let everybody take one turn; nobody's heart is beaten for it."""
        services: tuple[Service, ...] = (*self.schedulers, *self.workers)
        for service in services:
            try:
                service.run_once()
            except ParallaxError as error:
                service.recover(error)

    def until(self, condition: Callable[[], object], description: str) -> None:
        """Take turns until the condition holds."""

        def turned() -> object:
            self.turn()
            return condition()

        wait_until(turned, description)

    def until_ended(self, *names: str) -> None:
        """Take turns until these jobs have ended."""
        self.until(lambda: all(self.outcome(name) for name in names), f"{names[:3]}... to end")

    def record(self, name: str) -> Record | None:
        """Return a job's record."""
        return Results(self.link, self.keys).records([name])[0]

    def outcome(self, name: str) -> Outcome | None:
        """Return how a job ended."""
        record = self.record(name)
        return record.outcome if record else None

    def state(self, name: str) -> State | None:
        """Return where a job is."""
        record = self.record(name)
        return record.state if record else None

    def cancel(self, name: str) -> str:
        """Cancel a job; look again where it is if it moved meanwhile, as the client does."""
        word = Terminated.MOVED
        for _ in range(10):
            record = self.record(name)
            assert record is not None
            ending = Ending(
                name,
                record.tenant,
                Outcome.CANCELLED,
                worker=record.worker,
                hedge_worker=record.hedge_worker,
            )
            word = Intake(self.link, self.keys).terminate([ending])[0][0]
            if word is not Terminated.MOVED:
                break
        return word

    def die(self, worker: Worker) -> None:
        """Let a worker be dead: it takes no more turns and its heartbeat is gone."""
        self.workers.remove(worker)
        self.link.call("DEL", self.keys.heartbeat(worker.id))

    def counts(self) -> dict[str, int]:
        """Return the totals."""
        return Results(self.link, self.keys).counts()

    def dead_letters(self) -> list[dict[str, str]]:
        """Return the dead letters."""
        letters = []
        for _, fields in self.link.call("XRANGE", self.keys.dead, "-", "+"):
            pairs = iter(item.decode("utf-8", "replace") for item in fields)
            letters.append(dict(zip(pairs, pairs, strict=True)))
        return letters


@dataclass(slots=True)
class BeatingCell(Cell):
    """A cell whose workers beat in threads of their own, as they do in life."""

    beat_s: float = field(kw_only=True)  # how long a heartbeat lasts
    engines: list[StuckEngine] = field(default_factory=list)

    def worker(
        self, engine: Engine | None = None, role: str = "both", models: Sequence[str] = ()
    ) -> Worker:
        """Add a worker; without an engine of its own it has two slots and is stuck."""
        links = (self.connect(), self.connect())
        settings = WorkerSettings(
            heartbeat_s=self.beat_s, block_s=0.001, drain_s=0.0, stall_s=3600.0
        )
        stuck = StuckEngine(2)
        worker = Worker(
            "w", links, self.keys, engine or stuck, settings, SystemClock(), role=role,
            models=models,
        )  # fmt: skip
        worker.start()
        self.engines.append(stuck)
        self.workers.append(worker)
        return worker

    def turn(self) -> None:
        """Let everybody take one turn; their hearts beat in threads of their own."""
        self.serve()

    def for_periods(self, count: float) -> None:
        """Take turns while so many heartbeat periods pass."""
        clock = SystemClock()
        end = clock.monotonic() + count * self.beat_s
        self.until(lambda: clock.monotonic() > end, "heartbeat periods to pass")

    def everybody_beats(self) -> bool:
        """Whether every worker's heartbeat is there."""
        return all(self.link.calls([("EXISTS", self.keys.heartbeat(w.id)) for w in self.workers]))

    def let_go(self) -> None:
        """Let the engines finish what they hold."""
        for engine in self.engines:
            engine.stuck = False

    def close(self) -> None:
        """Let everybody leave, and the threads end."""
        for worker in self.workers:
            worker.close()
        for scheduler in self.schedulers:
            scheduler.close()


def deaths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the ids of workers are added when they are given up."""
    given_up: list[str] = []
    give_back = Recoverer._give_back

    def noted(recoverer: Recoverer, lease: Lease, workers: Sequence[str]) -> list[str]:
        gone = give_back(recoverer, lease, workers)
        given_up.extend(gone)
        return gone

    monkeypatch.setattr(Recoverer, "_give_back", noted)
    return given_up


def term_of(service: SchedulerService) -> Term:
    """Return what a leader knows."""
    assert service._term is not None, "it does not lead"
    return service._term


def scheduler_of(service: SchedulerService) -> Scheduler:
    """Return what decides for a leader; for who does not lead, one that knows nothing."""
    if service._term is None:
        return build_scheduler(Policies(), 0)
    return service._term._scheduler


def recording_of(service: SchedulerService) -> bytes:
    """Return the name of the recording that a leader writes."""
    return b"" if service._term is None else service._term._policies.recording


def look_again(leader: SchedulerService) -> None:
    """Let the time of the leader's next look at the cell have come."""
    term_of(leader)._timetable._due["poll"] = 0.0


def job(name: str, tenant: str = "acme", **fields: Any) -> Job:
    """Return a small job."""
    values: dict[str, Any] = {"prompt_tokens": 10, "max_tokens": 20, "output_tokens": 5}
    return Job(name, tenant, **(values | fields))


def jobs(count: int, tenants: str = "abc") -> list[Job]:
    """Return so many small jobs of several tenants."""
    return [job(f"j{n}", tenants[n % len(tenants)]) for n in range(count)]
