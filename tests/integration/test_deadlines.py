"""A deadline counts wherever its job waits: behind a full window, and when hints were lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.rescue import Rescue
from parallax.core.lifecycle import Outcome, State
from parallax.services import deadlines
from tests.integration.cells import QUICK, Cell, StuckEngine, job, jobs, scheduler_of

NARROW = replace(QUICK, window=4, batch=2)


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    """A cell with one job that runs, for ever, and a window of four full of others."""
    cell = Cell(connect)
    cell.scheduler(NARROW)
    cell.worker(StuckEngine(1))
    cell.submit(*jobs(20, tenants="a"))
    cell.until(lambda: cell.state("j0") is State.RUNNING, "one to run")
    return cell


def due(cell: Cell) -> int:
    return int(cell.link.call("ZCARD", cell.keys.due))


def test_a_deadline_passes_behind_a_full_window(cell: Cell) -> None:
    cell.submit(job("urgent", "a", deadline_s=0.05), job("later", "a", deadline_s=3_600.0))
    cell.until_ended("urgent")
    assert cell.outcome("urgent") is Outcome.EXPIRED
    assert cell.state("later") is State.QUEUED
    assert scheduler_of(cell.schedulers[0]).held("a") <= 6, "what is not due is not read"
    assert due(cell) == 1


@pytest.mark.dear
def test_what_is_due_soon_is_served_by_its_priority_behind_a_full_window(cell: Cell) -> None:
    cell.submit(job("urgent", "a", deadline_s=4.0, priority=100), job("plain", "a", priority=99))
    cell.until(lambda: scheduler_of(cell.schedulers[0]).knows("urgent"), "it to be read")
    (worker,) = cell.workers
    worker._engine.stuck = False  # type: ignore[attr-defined]
    cell.until_ended("urgent")
    ended = [f"j{n}" for n in range(20) if cell.outcome(f"j{n}")]
    assert len(ended) <= 3, "it waited for what ran and for what was sent on, and for no other"
    cell.until_ended("plain", *(f"j{n}" for n in range(20)))
    assert cell.outcome("urgent") is Outcome.COMPLETED
    assert cell.counts()["completed"] == 22, "what was read ahead is not read twice"


def test_many_deadlines_pass_at_once(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PAGE", 7)
    names = [f"d{n}" for n in range(50)]
    cell.submit(*(job(name, "a", deadline_s=0.05) for name in names))
    cell.until_ended(*names)
    assert {cell.outcome(name) for name in names} == {Outcome.EXPIRED}
    assert due(cell) == 0


def test_an_index_that_lies_is_put_right(cell: Cell) -> None:
    cell.submit(job("done", "b"))
    cell.until(lambda: cell.schedulers[0].leading, "a leader")
    assert cell.cancel("done") == "ok"
    past = {"done": 1, "nobody": 2, "j1": 3, "\udcff": 4}
    raw = {name.encode("utf-8", "surrogateescape"): score for name, score in past.items()}
    cell.link.call("ZADD", cell.keys.due, *(x for name, n in raw.items() for x in (n, name)))
    cell.until(lambda: due(cell) == 1, "only who is open to be left")
    assert cell.link.call("ZRANGE", cell.keys.due, 0, -1) == [b"j1"]
    assert cell.state("j1") in {State.QUEUED, State.ASSIGNED}, "its record has no deadline"


def test_a_job_that_nobody_rang_for_expires_in_time(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.until(lambda: cell.schedulers[0].leading, "a leader")
    cell.link.call("SADD", cell.keys.active, "a")  # so the door does not ring
    cell.submit(job("unheard", "a", deadline_s=0.05))
    cell.until_ended("unheard")
    assert cell.outcome("unheard") is Outcome.EXPIRED


@pytest.mark.parametrize("reminded", [True, False], ids=["", "control"])
def test_an_index_of_deadlines_that_was_lost_is_made_anew(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, reminded: bool
) -> None:
    if not reminded:
        monkeypatch.setattr(Rescue, "remind", lambda *_: None)
    cell.submit(job("later", "a", deadline_s=3_600.0))
    cell.link.call("DEL", cell.keys.due)
    cell.link.call("ZADD", cell.keys.open, "XX", 0, "later")  # nobody touched it for long
    cell.until(lambda: float(cell.link.call("ZSCORE", cell.keys.open, "later")) > 0, "a sweep")
    cell.turn()
    assert due(cell) == int(reminded)
