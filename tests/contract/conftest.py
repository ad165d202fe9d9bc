"""The broker's tests run over fakeredis and over real servers: the same text, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from parallax.broker.link import dialogue
from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import decode_assignment
from parallax.broker.store.codec import VERSION, Registration, Report
from parallax.broker.store.dispatch import Dispatching, Entry, Lease
from parallax.broker.store.intake import Intake, Receipt
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.results import Results
from parallax.core.model import Job
from parallax.scheduling.actions import Dispatch
from tests.carried import Carried
from tests.conftest import PLACES, connecting
from tests.contract.headers import faults
from tests.servers import Running


@dataclass(slots=True)
class Cell:
    """Everything a test needs to walk a job through its life by hand."""

    link: Link
    keys: Keys
    limits: Limits
    candidates: dict[str, Leadership] = field(default_factory=dict)

    @property
    def intake(self) -> Intake:
        return Intake(self.link, self.keys, self.limits)

    @property
    def dispatching(self) -> Dispatching:
        return Dispatching(self.link, self.keys)

    @property
    def rescue(self) -> Rescue:
        return Rescue(self.link, self.keys, self.limits)

    @property
    def membership(self) -> Membership:
        return Membership(self.link, self.keys)

    @property
    def results(self) -> Results:
        return Results(self.link, self.keys)

    def attempts(self, worker: str = "w1") -> Carried:
        return Carried(self.link, self.keys, worker, self.limits)

    def lead(self, candidate: str = "leader") -> Lease:
        lease = self.leadership(candidate).acquire()
        assert lease is not None
        return lease

    def leadership(self, candidate: str) -> Leadership:
        """Return one and the same candidate for each name."""
        if candidate not in self.candidates:
            self.candidates[candidate] = Leadership(self.link, self.keys, candidate, 60_000)
        return self.candidates[candidate]

    def join(self, worker: str = "w1", slots: int = 4, models: str = "") -> None:
        about: dict[str, str | int | float] = {"models": models} if models else {}
        registration = Registration(VERSION, slots, about=about)
        self.membership.beat(worker, f"{worker}-life", 60_000, registration)

    def die(self, worker: str = "w1") -> None:
        self.link.call("DEL", self.keys.heartbeat(worker))

    def submit(self, *jobs: Job, reply: str | None = "") -> list[Receipt]:
        return self.intake.submit(jobs, reply)

    def route(self, job: Job, entry: str, lease: Lease, worker: str = "w1", cap: int = 8) -> str:
        dispatch = Dispatch(job.id, job.tenant, entry, worker, 1, 10.0)
        return self.dispatching.commit(lease, [dispatch], {worker: cap}, {})[0]

    def assigned(self, job: Job, worker: str = "w1", **options: Any) -> str:
        """Submit a job, route it, and return the id of its entry in the worker's stream."""
        receipt = self.submit(job, **options)[0]
        assert self.route(job, receipt.detail, self.lead(), worker) == "ok"
        return self.entries(worker)[-1].id

    def entries(self, worker: str = "w1") -> list[Entry]:
        held = self.membership.held(worker)
        return [Entry(entry, fields) for entry, fields in held]

    def begun(self, job: Job, worker: str = "w1", **options: Any) -> Any:
        """Bring a job into the state `running`; return its attempt."""
        self.assigned(job, worker, **options)
        running, *_ = self.attempts(worker).begin([decode_assignment(self.entries(worker)[-1])])
        return running[0]

    def send(self, dispatch: Dispatch, lease: Lease) -> str:
        return self.dispatching.commit(lease, [dispatch], {dispatch.worker: 8}, {})[0]

    def begin(self, worker: str) -> Any:
        """Begin the attempt that lies at the end of a worker's stream."""
        running, *_ = self.attempts(worker).begin([decode_assignment(self.entries(worker)[-1])])
        return running[0]

    def doubled(self, job: Job) -> tuple[Any, Any]:
        """Let a job run on w1 and, beside it, on w2; return both attempts."""
        self.join("w1")
        self.join("w2")
        first = self.begun(job)
        hedge = Dispatch(job.id, job.tenant, "", "w2", 2, 10.0, hedge=True)
        assert self.send(hedge, self.lead()) == "ok"
        return first, self.begin("w2")

    def events(self) -> list[str]:
        """Return what the scheduler was told, oldest first: "job word"."""
        told = []
        for _, fields in self.link.call("XRANGE", self.keys.events, "-", "+"):
            pairs = iter(item.decode() for item in fields)
            told += [
                f"{name} {text.partition(' ')[0]}" for name, text in zip(pairs, pairs, strict=True)
            ]
        return told

    def state(self, job: Job) -> str:
        value = self.link.call("HGET", self.keys.job(job.id), "at")
        return value.decode().partition(" ")[0] if value else ""

    def backlog(self, tenant: str = "acme") -> int:
        return int(self.link.call("XLEN", self.keys.arrivals(tenant)))

    def open_jobs(self) -> int:
        return int(self.link.call("ZCARD", self.keys.open))


@pytest.fixture(params=[*PLACES, "asyncio"])
def connect(request: pytest.FixtureRequest, servers: Running) -> Iterator[Callable[[], Link]]:
    """Return a function that opens links: one of their kinds is that of an event loop."""
    yield from connecting(request, servers)


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Look at every call that a test makes: it must fit its script's header. Says which were."""
    do, do_each = dialogue.do, dialogue.do_each
    found: set[str] = set()

    def looked_at(call: Call[Any]) -> None:
        found.add(call.script.name)
        assert faults(call) == [], f"a call of {call.script.name} does not fit its header"

    def did(call: Call[Any]) -> Any:
        looked_at(call)
        return do(call)

    def did_each(calls: Sequence[Call[Any]]) -> Any:
        for call in calls:
            looked_at(call)
        return do_each(calls)

    monkeypatch.setattr(dialogue, "do", did)
    monkeypatch.setattr(dialogue, "do_each", did_each)
    return found


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    return Cell(connect(), Keys("test"), Limits(max_depth=3, max_bytes=4096, max_active=100))


def job(job_id: str = "j1", tenant: str = "acme", **fields: Any) -> Job:
    """A small job."""
    values: dict[str, Any] = {"prompt_tokens": 10, "max_tokens": 20, "output_tokens": 5} | fields
    return Job(job_id, tenant, **values)


def report(attempt: Any, worker: str = "w1") -> Report:
    return Report("acme", worker, int(attempt.assignment.attempt), 10.0, 10, 5)
