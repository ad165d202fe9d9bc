"""Whatever tells somebody of something can be lost; what is true is found all the same.

Beside each law its control: without the look at the truth the same loss is for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Dispatching
from parallax.broker.store.limits import Limits
from parallax.consumers import desk
from parallax.core.lifecycle import Outcome, State
from parallax.services.tenant_window import TenantWindow
from tests.integration.cells import QUICK, Cell, StuckEngine, job, look_again, scheduler_of, term_of
from tests.waiting import wait_until

#: More than a read of the bell returns, and far less than that is left of it.
TENANTS, LEFT = 700, 300


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    return Cell(connect)


def led(cell: Cell, **changes: float) -> None:
    """Let a scheduler lead that does nothing by the clock in the time of a test."""
    calm = replace(QUICK, poll_s=10.0, sweep_s=3600.0, idle_s=3600.0, lease_s=60.0)
    service = cell.scheduler(replace(calm, **changes))  # type: ignore[arg-type]
    cell.until(lambda: service.leading, "a leader")
    cell.turn()
    cell.until(lambda: not term_of(service)._sweeping, "the first sweep to end")


def ring_and_trim(cell: Cell, left: int) -> None:
    """Many tenants become active at once; the bell keeps the last of them."""
    cell.submit(*(job(f"j{n}", f"t{n}") for n in range(TENANTS)))
    cell.link.call("XTRIM", cell.keys.bell, "MAXLEN", left)


def turns(cell: Cell, count: int) -> None:
    for _ in range(count):
        cell.turn()


def held(cell: Cell) -> int:
    return scheduler_of(cell.schedulers[0]).queued


@pytest.mark.slow_on_fakeredis
def test_a_trimmed_bell_is_noticed_at_once(cell: Cell) -> None:
    led(cell)
    ring_and_trim(cell, LEFT)
    turns(cell, 8)  # the bell, `active`, and the streams of all in two pages
    assert held(cell) == TENANTS


@pytest.mark.slow_on_fakeredis
def test_a_bell_that_is_gone_is_noticed_at_the_next_poll(cell: Cell) -> None:
    led(cell, poll_s=0.01)
    ring_and_trim(cell, 0)
    cell.until(lambda: held(cell) == TENANTS, "all jobs to be read")


@pytest.mark.slow_on_fakeredis
def test_without_a_look_at_who_is_active_they_wait_for_ever(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    led(cell, poll_s=0.01)
    monkeypatch.setattr(TenantWindow, "survey", lambda *_: None)
    ring_and_trim(cell, LEFT)
    turns(cell, 40)
    assert held(cell) <= LEFT


def forgetful(cell: Cell) -> None:
    """The leader forgets a job that waits."""
    led(cell, poll_s=0.01, sweep_s=0.1, repair_grace_s=0.5)
    cell.submit(job("j0"))
    cell.until(lambda: held(cell) == 1, "the job to be read")
    scheduler_of(cell.schedulers[0])._line.withdraw("j0")
    cell.link.call("ZADD", cell.keys.open, "XX", 1, "j0")  # nobody touched it for long


def test_a_job_that_the_leader_forgot_is_read_again(cell: Cell) -> None:
    forgetful(cell)
    cell.worker()
    cell.until_ended("j0")
    assert cell.outcome("j0") is Outcome.COMPLETED
    assert cell.counts().get("repaired", 0) == 0  # it was where it should be


def test_without_a_second_reading_it_waits_for_ever(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dispatching, "rewind", lambda *_: None)
    forgetful(cell)
    cell.worker()
    cell.until(lambda: _touched(cell) > 1, "the job to be looked for")
    turns(cell, 20)
    assert cell.state("j0") is State.QUEUED


def _touched(cell: Cell) -> float:
    return float(cell.link.call("ZSCORE", cell.keys.open, "j0") or 0)


@pytest.mark.parametrize("kept", [3, 100])
def test_lost_events_are_noticed_when_as_many_as_are_kept_wait(cell: Cell, kept: int) -> None:
    led(cell, poll_s=0.01, repair_grace_s=3600.0)
    leader = cell.schedulers[0]
    term_of(leader)._limits = Limits(log_entries=kept)
    worker = cell.worker(StuckEngine(1))
    cell.submit(job("j0"))
    cell.until(lambda: scheduler_of(leader).in_flight == 1, "the job to be sent")
    leader.run_once()  # the read that left with the commit brings nothing that is lost below
    worker._engine.stuck = False  # type: ignore[attr-defined]
    worker.run_once()
    wait_until(lambda: _ended_quietly(cell, worker), "its end, of which nobody is told")
    for n in range(3):
        cell.link.call("XADD", cell.keys.events, "*", f"other{n}", "withdrawn ")
    look_again(leader)
    leader.run_once()
    turns(cell, 3)
    assert scheduler_of(leader).in_flight == (0 if kept == 3 else 1)


def _ended_quietly(cell: Cell, worker: object) -> bool:
    worker.run_once()  # type: ignore[attr-defined]
    ended = cell.state("j0") is State.COMPLETED
    if ended:
        cell.link.call("DEL", cell.keys.events)
    return ended


@pytest.mark.parametrize("look_s", [0.02, 3600.0])
def test_an_order_to_stop_that_was_lost_is_found_in_the_record(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, look_s: float
) -> None:
    monkeypatch.setattr(desk, "LOOK_S", look_s)
    engine = StuckEngine(1)
    worker = cell.worker(engine)  # before the leader, whose next look at workers is far
    led(cell)
    cell.submit(job("j0"))
    cell.until(lambda: cell.state("j0") is State.RUNNING, "the job to run")
    assert cell.cancel("j0") == "ok"
    cell.link.call("DEL", cell.keys.control(worker.id))
    if look_s < 1.0:
        cell.until(lambda: not engine._requests, "the engine to be free")
    turns(cell, 3)
    assert len(engine._requests) == (0 if look_s < 1.0 else 1)
