"""The whole protocol as a state machine: whatever happens in whatever order, every job ends once.

Two schedulers, workers that come, die, and come back from the dead, engines that finish when they
are told to, jobs that are submitted, submitted again, cancelled and expired, leases that are taken
away, streams that are deleted; with hedges, stealing and a worker that computes prompts for others.
Steps that make progress are drawn more often than faults: a machine of faults alone never gets
anywhere. After every step the books must balance; at the end all faults are off, and everything
must end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import fakeredis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Ending, Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.relay import InOrder
from parallax.broker.store.results import Results
from parallax.consumers.engines.interface import Chunk, Done
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice, SchedulerSettings, WorkerSettings
from parallax.engine.request import Request
from parallax.services.scheduler import SchedulerService
from parallax.telemetry.scheduling import SchedulingMetrics
from tests.servers import EMBEDDED, SERVERS, Running

#: Examples of 50 steps on fakeredis and on the embedded server; `make stateful` runs many more.
EXAMPLES = int(os.environ.get("PARALLAX_EXAMPLES", "20"))
#: On the other servers, which differ from that one in few things.
FEW = 5
STEPS = 50
KEYS = Keys("machine")
POLICIES = Policies(
    routing=PolicyChoice("disaggregated", {"min_tokens": 50, "disturbance": 1e6}),
    hedging=PolicyChoice("tied", {"budget": 1.0, "saturation": 1e3, "delay_s": 0.0}),
    stealing=PolicyChoice("steal_half"),
    gate=PolicyChoice("jbsq", {"prefetch": 3}),
)
SETTINGS = SchedulerSettings(
    lease_s=60.0, heartbeat_s=60.0, poll_s=10.0, block_s=0.001, sweep_s=5.0, repair_grace_s=0.5,
    idle_s=0.0, stall_s=3600.0,
)  # fmt: skip
OUTCOMES = [outcome.value for outcome in Outcome]


class HandClock:
    """A clock that is moved by hand, and by waiting."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += seconds


PIECES = 3


def body_of(job_id: str) -> bytes:
    """Every second job has a body."""
    return f"of {job_id}".encode() if int(job_id[1:]) % 2 else b""


class ToldEngine(NoopEngine):
    """Finishes so many requests as it is told to; signs what it answers."""

    allowed, reads_bodies, sign = 0, True, ""
    wrong: ClassVar[list[str]] = []

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.begun = set[str]()

    def add(self, request: Request, now: float) -> None:
        if request.body != body_of(request.id):
            self.wrong.append(f"{request.id} came with {request.body!r}")
        super().add(request, now)

    def _say(self, requests: Sequence[Request], at: float, numbers: Sequence[int]) -> None:
        some = [r for r in requests if r.stream]
        texts = [(r, n, f"{self.sign} {n}".encode()) for r in some for n in numbers]
        if texts:
            self._host.tell([Chunk(r.id, at, text, n + 1) for r, n, text in texts])

    def _end(self, at: float) -> None:
        fresh = [r for r in self._requests if r.id not in self.begun]
        self.begun = {r.id for r in self._requests}
        self._say(fresh, at, [0])
        self._say(self._requests[: self.allowed], at, range(1, PIECES))
        held = self._requests[self.allowed :]
        self._requests = self._requests[: self.allowed]
        self.allowed = max(0, self.allowed - len(self._requests))
        done, answer = self._requests, self.sign.encode()
        if done:
            self._host.tell([Done(r.id, at, 3, first_at=at, answer=answer) for r in done])
        self.begun -= {r.id for r in done}
        self._requests = held
        if held:  # it looks again at the next turn
            self._host.at(at, lambda: self._end(at))


class Protocol(RuleBasedStateMachine):
    """See the module's docstring."""

    connect: ClassVar[Callable[[], Link]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.link = type(self).connect()
        self.link.call("FLUSHALL")
        self.workers: list[Worker] = []
        self.zombies: list[Worker] = []
        self.jobs: dict[str, Job] = {}
        self.claimed: dict[str, str] = {}
        ToldEngine.wrong.clear()
        self.schedulers = [
            SchedulerService(
                type(self).connect(), KEYS, name, SETTINGS, POLICIES, self.clock,
                SchedulingMetrics(),
            )
            for name in ("one", "two")
        ]  # fmt: skip

    @initialize()
    def begin(self) -> None:
        self._join("prefill")
        for _ in range(2):
            self._join("both")

    def _join(self, role: str) -> None:
        worker = Worker(
            "w", (type(self).connect(), type(self).connect()), KEYS, ToldEngine(2),
            WorkerSettings(heartbeat_s=60.0, block_s=0.001, drain_s=0.0), self.clock, role=role,
        )  # fmt: skip
        worker._engine.sign = worker.id  # type: ignore[attr-defined]
        worker.heartbeat.beat()
        self.workers.append(worker)

    # -- progress ---------------------------------------------------------------------------------

    @rule(
        count=st.integers(1, 4), prompt=st.sampled_from((10, 100)), tenant=st.sampled_from("ab"),
        stream=st.booleans(), keep=st.booleans(),
    )  # fmt: skip
    def submit(self, count: int, prompt: int, tenant: str, stream: bool, keep: bool) -> None:
        names = [f"j{len(self.jobs) + n}" for n in range(count)]
        new = [
            Job(name, tenant, prompt, 9, output_tokens=3, stream=stream, keep=keep)
            for name in names
        ]
        self.jobs |= {job.id: job for job in new}
        bodies = {name: body_of(name) for name in names if body_of(name)}
        receipts = Intake(self.link, KEYS).submit([*new, new[0]], None, bodies)
        assert [receipt.word for receipt in receipts] == ["ok"] * count + ["dup"]

    @rule(which=st.integers(0, 1))
    def schedule(self, which: int) -> None:
        self._turn(self.schedulers[which])

    @rule(which=st.integers(0, 9), finish=st.integers(0, 2))
    def work(self, which: int, finish: int) -> None:
        worker = self.workers[which % len(self.workers)]
        worker._engine.allowed = finish  # type: ignore[attr-defined]
        self._turn(worker)

    @rule(finish=st.integers(0, 2))
    def everybody(self, finish: int) -> None:
        for worker in self.workers:
            worker._engine.allowed = finish  # type: ignore[attr-defined]
        for service in (*self.schedulers, *self.workers):
            self._turn(service)

    @rule(seconds=st.sampled_from((0.01, 1.0, 11.0)))
    def pass_time(self, seconds: float) -> None:
        self.clock.at += seconds

    def _turn(self, service: Any) -> None:
        try:
            if service in self.workers:
                service.heartbeat.beat()
            service.run_once()
        except ParallaxError as error:
            service.recover(error)

    # -- faults -----------------------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        name = sorted(self.jobs)[which % len(self.jobs)]
        record = Results(self.link, KEYS).records([name])[0]
        assert record is not None
        end = Ending(
            name,
            record.tenant,
            Outcome.CANCELLED,
            worker=record.worker,
            hedge_worker=record.hedge_worker,
        )
        Intake(self.link, KEYS).terminate([end])

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 99))
    def let_the_deadline_pass(self, which: int) -> None:
        name = sorted(self.jobs)[which % len(self.jobs)]
        self.link.call("HSET", KEYS.job(name), "deadline", "1")

    @precondition(lambda self: len(self.workers) > 1)
    @rule(which=st.integers(0, 9), zombie=st.booleans())
    def die(self, which: int, zombie: bool) -> None:
        worker = self.workers.pop(which % len(self.workers))
        self.link.call("DEL", KEYS.heartbeat(worker.id))
        if zombie:
            self.zombies.append(worker)
        self._join("prefill" if worker.desk._role == "prefill" else "both")

    @precondition(lambda self: self.zombies)
    @rule(finish=st.integers(0, 2), reborn=st.booleans())
    def a_zombie_works(self, finish: int, reborn: bool) -> None:
        zombie = self.zombies[0]
        zombie._engine.allowed = finish  # type: ignore[attr-defined]
        if reborn:
            self.zombies.pop(0)
            with contextlib.suppress(ParallaxError):
                zombie.heartbeat.beat()
            self.workers.append(zombie)
        self._turn(zombie)

    @rule()
    def take_the_lease_away(self) -> None:
        self.link.call("DEL", KEYS.leader)

    @rule(which=st.integers(0, 9))
    def delete_a_stream(self, which: int) -> None:
        streams = [KEYS.work(worker.id) for worker in self.workers]
        streams += [KEYS.arrivals("a"), KEYS.arrivals("b"), KEYS.events]
        self.link.call("DEL", streams[which % len(streams)])

    # -- the books --------------------------------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        counts = Results(self.link, KEYS).counts()
        ended = sum(counts.get(outcome, 0) for outcome in OUTCOMES)
        opened = self.link.call("ZCARD", KEYS.open)
        assert counts.get("accepted", 0) == len(self.jobs) == ended + opened
        assert counts.get("vanished", 0) == 0

    @invariant()
    def what_is_claimed_stays_or_ends(self) -> None:
        names = sorted(self.jobs)
        places = self.link.calls([("HGET", KEYS.job(name), "at") for name in names])
        for name, place in zip(names, places, strict=True):
            at = (place or b"").decode()
            if name in self.claimed:
                assert at == self.claimed[name] or at.partition(" ")[0] in OUTCOMES
            elif at.endswith(" claimed"):
                self.claimed[name] = at

    @invariant()
    def engines_read_what_was_submitted(self) -> None:
        assert not ToldEngine.wrong

    def _heard(self) -> None:
        """What was told of each job is whole, of one worker, and that of who ended it."""
        results = Results(self.link, KEYS)
        for name, job in self.jobs.items():
            (record,), told = results.records([name]), results.follow(name, "", 0)[1]
            assert record is not None
            done, order = record.outcome is Outcome.COMPLETED, InOrder()
            winner = record.report.worker.encode() if done else b""
            pieces = [order.take(notice.piece) for notice in told if notice.word == "chunk"]
            assert len({piece.split(b" ")[0] for piece in pieces if piece}) <= 1
            answers = [notice.data for notice in told if notice.word == "answer"]
            if done and job.stream:
                assert pieces == [b"%s %d" % (winner, n) for n in range(PIECES)]
            assert answers == ([winner] if done and not job.stream else [])
            kept = winner if done and job.keep else None
            assert results.answers([name]) == [kept]
            assert [notice.outcome for notice in told if notice.outcome] in ([record.outcome], [])
        for key in self.link.call("KEYS", "*answer:*"):
            assert self.link.call("PTTL", key) > 0
        assert not [k for k in self.link.call("KEYS", "*body:*") if self.link.call("PTTL", k) < 0]

    def teardown(self) -> None:
        """Faults are over: everything must end, and nothing may be left."""
        try:
            self._drain()
            self._heard()
        finally:
            for worker in (*self.workers, *self.zombies):
                worker._errands.drop()
                worker.heartbeat._link.close()
            for scheduler in self.schedulers:
                scheduler.close()
            self.link.close()

    def _drain(self) -> None:
        for _ in range(400):
            if not self.link.call("ZCARD", KEYS.open):
                break
            self.clock.at += 11.0
            self._age()
            self.everybody(2)
        records = Results(self.link, KEYS).records(sorted(self.jobs))
        assert [record for record in records if record is None or record.outcome is None] == []
        for _ in range(5):
            self.clock.at += 11.0
            self.everybody(2)
        for tenant in "ab":
            assert not self.link.call("XLEN", KEYS.arrivals(tenant))

    def _age(self) -> None:
        """Let open jobs be old enough to be looked for: the store's clock is not ours to move."""
        for name in self.link.call("ZRANGE", KEYS.open, 0, -1):
            self.link.call("ZADD", KEYS.open, "XX", 1, name)


def run(connect: Callable[[], Link], examples: int = EXAMPLES) -> None:
    machine: Any = type("Machine", (Protocol,), {"connect": staticmethod(connect)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, print_blob=True,
        suppress_health_check=list(HealthCheck), database=None,
    )  # fmt: skip
    case("runTest").debug()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_job_ends_once_on_fakeredis() -> None:
    server = fakeredis.FakeServer()

    def connect() -> Link:  # each with a pool of its own: a pool counts, and refuses the hundredth
        pool = fakeredis.FakeRedis(server=server, protocol=2).connection_pool
        return Link(pool.make_connection)

    run(connect)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", SERVERS)
def test_every_job_ends_once_on_a_server(servers: Running, name: str) -> None:
    url = servers.started(name).start().url
    run(lambda: Link.to(url), EXAMPLES if name == EMBEDDED.name else FEW)
