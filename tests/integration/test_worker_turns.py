"""A worker's turns, one by one: what it does with orders, drains, refusals and late replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.store.answers import Answer
from parallax.broker.store.attempts import Finish
from parallax.broker.store.dispatch import Dispatching, Lease
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership
from parallax.consumers.retries import Resting
from parallax.consumers.trouble import Failures, Trouble
from parallax.consumers.worker import Worker
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import WorkerSettings
from parallax.core.words import Finished
from parallax.engine.request import Request
from parallax.scheduling.actions import Dispatch
from tests.integration.cells import Cell, StuckEngine, job


class Stage:
    """A worker that is turned by hand, and jobs that are sent to it by hand."""

    def __init__(
        self, connect: Callable[[], Link], engine: StuckEngine | None = None, **settings: Any
    ) -> None:
        self.cell = Cell(connect)
        self.link, self.keys, self.clock = self.cell.link, Keys("cell"), ManualClock(100.0)
        lease = Leadership(self.link, self.keys, "leader", 60_000).acquire()
        assert lease is not None
        self.lease: Lease = lease
        self.engine = engine or StuckEngine(10)
        links = (connect(), connect())
        values = {"heartbeat_s": 30.0, "block_s": 0.001, "drain_s": 5.0, "retry_base_s": 0.0}
        self.worker = Worker(
            "w", links, self.keys, self.engine, WorkerSettings(**(values | settings)), self.clock
        )
        self.worker.heartbeat.beat()

    def send(self, *names: str, attempt: int = 1, **fields: Any) -> None:
        """Let these jobs lie in the worker's stream."""
        for name in names:
            receipt = Intake(self.link, self.keys).submit([job(name, **fields)])[0]
            sent = Dispatch(name, "acme", receipt.detail, self.worker.id, attempt, 1.0)
            caps = {self.worker.id: 100}
            assert Dispatching(self.link, self.keys).commit(self.lease, [sent], caps, {}) == ["ok"]

    def order(self, name: str, attempt: str) -> None:
        """Tell the worker to stop an attempt."""
        key = self.keys.control(self.worker.id)
        self.link.call("XADD", key, "*", "cancel", name, "attempt", attempt)

    def running(self) -> list[str]:
        return sorted(self.worker.desk.running)

    def taken(self) -> list[str]:
        """Return what lies in the engine."""
        return sorted(request.id for request in self.engine._requests)


@pytest.fixture
def stage(connect: Callable[[], Link]) -> Stage:
    return Stage(connect)


def test_an_order_stops_the_attempt_that_it_names_and_no_other(stage: Stage) -> None:
    stage.send("j1")
    stage.worker.run_once()
    stage.order("j1", "7")
    stage.worker.run_once()
    assert stage.running() == stage.taken() == ["j1"]
    stage.order("j1", "1")
    stage.worker.run_once()
    assert stage.running() == stage.taken() == []
    assert stage.cell.state("j1") is State.QUEUED  # nobody had cancelled the job itself


def test_who_drains_begins_nothing_more_and_gives_it_back_unharmed(stage: Stage) -> None:
    stage.send("j1")
    stage.worker.run_once()
    stage.worker.drain()
    stage.send("j2")
    for _ in range(2):
        stage.worker.run_once()
    assert stage.running() == stage.taken() == ["j1"]
    record = stage.cell.record("j2")
    assert record is not None
    assert (record.state, stage.link.call("HGET", stage.keys.job("j2"), "limit")) == (
        State.QUEUED, b"4"
    )  # fmt: skip


def test_a_drain_ends_when_its_time_is_over(stage: Stage) -> None:
    stage.send("j1")
    stage.worker.run_once()
    stage.worker.drain()
    stage.clock.wait(4.9)
    stage.worker.run_once()
    assert stage.running() == ["j1"]
    assert (stage.worker.drained, stage.taken()) == (False, ["j1"])
    stage.clock.wait(0.2)
    stage.worker.run_once()
    stage.worker.run_once()
    assert (stage.worker.drained, stage.taken()) == (True, [])
    assert stage.cell.state("j1") is State.QUEUED


def test_a_job_that_comes_back_takes_the_place_of_its_older_attempt(stage: Stage) -> None:
    stage.send("j1")
    stage.worker.run_once()
    key = stage.keys.job("j1")
    entry = stage.link.call(
        "XADD", stage.keys.work(stage.worker.id), "*", "j", f"j1 2 1.0 {stage.lease.epoch}"
    )
    at = f"assigned {stage.worker.id}/2/{entry.decode()}"
    stage.link.call("HSET", key, "at", at)
    stage.worker.run_once()
    assert stage.running() == stage.taken() == ["j1"]
    assert stage.worker.desk.running["j1"].attempt.assignment.attempt == "2"


class Narrow(StuckEngine):
    """An engine into which nothing fits."""

    def add(self, request: Request, now: float) -> None:
        raise InvalidInput("prompt", request.prompt_tokens, "at most 5 tokens")


def test_what_can_never_fit_fails_with_the_reason(connect: Callable[[], Link]) -> None:
    stage = Stage(connect, Narrow(10))
    stage.send("j1")
    stage.worker.run_once()
    record = stage.cell.record("j1")
    assert record is not None
    assert record.outcome is Outcome.FAILED
    assert "at most 5 tokens" in record.report.error


def test_what_failed_is_tried_again_and_in_the_end_no_more(stage: Stage) -> None:
    stage.worker._trouble = Trouble(failures=Failures(1.0))
    stage.engine.stuck = False
    for attempt in (1, 2, 3):
        if attempt == 1:
            stage.send("j1")
        else:
            entry = stage.link.call("XRANGE", stage.keys.arrivals("acme"), "-", "+")[0][0].decode()
            sent = Dispatch("j1", "acme", entry, stage.worker.id, attempt, 1.0)
            Dispatching(stage.link, stage.keys).commit(
                stage.lease, [sent], {stage.worker.id: 9}, {}
            )
        for _ in range(3):
            stage.worker.run_once()
        assert stage.cell.state("j1") is (State.DEAD if attempt == 3 else State.QUEUED)


def test_what_is_expired_before_it_begins_is_said_so(stage: Stage) -> None:
    stage.send("j1", deadline_s=1000.0)
    stage.link.call("HSET", stage.keys.job("j1"), "deadline", "1")
    stage.worker.run_once()
    assert stage.cell.outcome("j1") is Outcome.EXPIRED
    assert stage.taken() == []


def test_more_ends_than_fit_into_one_message_are_all_told(connect: Callable[[], Link]) -> None:
    stage = Stage(connect, batch=2)
    names = [f"j{n}" for n in range(5)]
    stage.send(*names)
    for _ in range(4):
        stage.worker.run_once()
    assert stage.running() == names
    sizes: list[int] = []
    finish = stage.worker._errands._attempts.finish

    def counted(finishes: Sequence[Finish]) -> Dialogue[list[Answer[Finished]]]:
        sizes.append(len(finishes))
        return finish(finishes)

    stage.worker._errands._attempts.finish = counted  # type: ignore[method-assign]
    stage.engine.stuck = False
    stage.worker.run_once()
    assert [stage.cell.outcome(name) for name in names] == [Outcome.COMPLETED] * 5
    assert sizes == [2, 2, 1]


def test_who_leaves_is_known_to_have_left(stage: Stage) -> None:
    stage.send("j1", "j2")
    stage.worker.run_once()
    stage.worker.close()
    name = stage.worker.id
    assert stage.link.call("HEXISTS", stage.keys.workers, name) == 0
    keys = (stage.keys.work(name), stage.keys.heartbeat(name), stage.keys.status(name))
    assert stage.link.call("EXISTS", *keys) == 0
    assert [stage.cell.state(n) for n in ("j1", "j2")] == [State.QUEUED, State.QUEUED]


def test_a_prompt_that_was_cached_elsewhere_is_not_paid_for_again(stage: Stage) -> None:
    stage.send("j1")
    ((held, _),) = stage.link.call("XRANGE", stage.keys.work(stage.worker.id), "-", "+")
    stage.link.call("XDEL", stage.keys.work(stage.worker.id), held)
    entry = stage.link.call(
        "XADD", stage.keys.work(stage.worker.id), "*", "j",
        f"j1 1 1.0 {stage.lease.epoch} w0 7 0.25",
    )  # fmt: skip
    at = f"assigned {stage.worker.id}/1/{entry.decode()}"
    stage.link.call("HSET", stage.keys.job("j1"), "at", at)
    stage.engine.stuck = False
    stage.worker.run_once()
    stage.worker.run_once()
    record = stage.cell.record("j1")
    assert record is not None
    assert record.outcome is Outcome.COMPLETED
    assert (record.report.cached_tokens, record.report.first_s) == (7, 0.25)


def test_an_order_ends_the_rest_of_what_failed(stage: Stage) -> None:
    stage.worker.desk.resting = Resting(100.0, 100.0, Random(1))
    stage.worker._trouble = Trouble(failures=Failures(1.0))
    stage.send("j1")
    stage.engine.stuck = False
    for _ in range(2):
        stage.worker.run_once()
    assert stage.cell.state("j1") is State.RUNNING  # it rests
    stage.order("j1", "1")
    for _ in range(2):
        stage.worker.run_once()
    assert stage.cell.state("j1") is State.QUEUED


class Faulty(StuckEngine):
    """An engine with a defect."""

    def add(self, request: Request, now: float) -> None:
        raise ValueError("a defect")


def test_an_engine_that_raises_has_failed_and_the_job_is_tried_again(
    connect: Callable[[], Link],
) -> None:
    stage = Stage(connect, Faulty(10))
    stage.send("j1")
    for _ in range(2):
        stage.worker.run_once()
    assert stage.running() == []
    assert stage.cell.state("j1") is State.QUEUED
    record = stage.cell.record("j1")
    assert record is not None
    assert record.attempts == 1
