"""Attempts that fail: they rest, are tried again, and in the end are dead."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from parallax.broker.link.connection import Link
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.trouble import Failures
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import WorkerSettings
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell, job, jobs

LONG_S = 60.0


class Longest(Random):
    """Draws the longest rest that may be drawn."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    made = Cell(connect)
    made.scheduler()
    return made


def failing(cell: Cell, share: float, rest_s: float) -> Worker:
    """Add a worker whose executions fail."""
    settings = WorkerSettings(
        heartbeat_s=30.0, block_s=0.001, drain_s=0.0, retry_base_s=rest_s, retry_cap_s=rest_s
    )
    worker = Worker(
        "w", (cell.connect(), cell.connect()), cell.keys, NoopEngine(100), settings, SystemClock(),
        failures=Failures(share),
    )  # fmt: skip
    worker.desk.resting._random = Longest()
    worker.heartbeat.beat()
    cell.workers.append(worker)
    return worker


def test_what_fails_now_and_then_completes_in_a_later_attempt(cell: Cell) -> None:
    failing(cell, 0.3, 0.01)
    cell.submit(*jobs(100))
    cell.until_ended(*(f"j{n}" for n in range(100)))
    records = [cell.record(f"j{n}") for n in range(100)]
    attempts = [record.attempts for record in records if record]
    assert max(attempts) > 1
    completed = sum(
        record is not None and record.outcome is Outcome.COMPLETED for record in records
    )
    assert completed + len(cell.dead_letters()) == 100
    assert completed > 90  # 0.3 ** 3 fail three times
    assert cell.counts()["requeued"] >= sum(attempts) - 100


def test_what_always_fails_is_dead_after_its_attempts_and_leaves_a_letter(cell: Cell) -> None:
    failing(cell, 1.0, 0.01)
    cell.submit(job("j"))
    cell.until_ended("j")
    record = cell.record("j")
    assert record is not None
    assert (record.outcome, record.attempts) == (Outcome.DEAD, 3)
    assert record.report.error == "the engine failed"
    assert [letter["job"] for letter in cell.dead_letters()] == ["j"]


def test_a_resting_job_is_cancelled_at_once(cell: Cell) -> None:
    worker = failing(cell, 1.0, LONG_S)
    cell.submit(job("j"))
    cell.until(lambda: len(worker.desk.resting), "the failure")
    assert cell.state("j") is State.RUNNING
    assert cell.cancel("j") == "ok"
    cell.until(lambda: not worker.desk.resting, "the rest to end")
    assert cell.outcome("j") is Outcome.CANCELLED


def test_a_drain_does_not_wait_for_what_rests(cell: Cell) -> None:
    worker = failing(cell, 1.0, LONG_S)
    cell.submit(job("j"))
    cell.until(lambda: len(worker.desk.resting), "the failure")
    worker.drain()
    cell.until(lambda: worker.drained, "the drain")
    assert cell.state("j") is State.QUEUED  # given back, not left for who buries the worker
    cell.workers.remove(worker)
    cell.worker()
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED


def test_a_resting_job_of_a_dead_worker_runs_elsewhere(cell: Cell) -> None:
    worker = failing(cell, 1.0, LONG_S)
    cell.submit(job("j"))
    cell.until(lambda: len(worker.desk.resting), "the failure")
    cell.die(worker)
    cell.worker()
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED
