"""A leader tells those who look what it sees, and the next one goes on from there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.figures import decode_figures
from parallax.broker.store.overview import CellState, Overview
from parallax.core.lifecycle import Outcome
from parallax.services import publishing
from tests.integration.cells import Cell, jobs


@pytest.fixture
def cell(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    monkeypatch.setattr("parallax.services.term.EVERY_S", 0.0)
    monkeypatch.setattr(publishing, "QUIET_S", 0.0)
    cell = Cell(lambda: Link.to(server_url))
    yield cell
    for scheduler in cell.schedulers:
        scheduler.close()


def seen(cell: Cell) -> CellState:
    return Overview(cell.link, cell.keys).read()


def told(cell: Cell) -> int:
    """Return how many completed jobs the leader has told of."""
    figures = seen(cell).figures
    return 0 if figures is None else sum(one.completed for one in figures.tenants)


def test_what_is_served_is_told(cell: Cell) -> None:
    cell.scheduler()
    cell.worker()
    cell.submit(*jobs(9))
    cell.until_ended(*(f"j{n}" for n in range(9)))
    cell.until(lambda: told(cell) == 9, "the leader to tell of all of them")
    state = seen(cell)
    assert not state.stale
    assert {one.name: one.share for one in state.tenants} == dict.fromkeys(
        "abc", pytest.approx(1 / 3)
    )
    assert state.sketches["e2e_s"].count == 9
    assert state.totals["completed"] == 9
    assert {one.kind for one in state.in_force} >= {"routing", "fairness", "admission"}
    assert state.leader is not None
    assert state.leader.since == state.figures.term_since if state.figures else False


def test_the_next_leader_goes_on_and_says_so(cell: Cell) -> None:
    cell.scheduler()
    cell.worker()
    cell.submit(*jobs(6))
    cell.until_ended(*(f"j{n}" for n in range(6)))
    cell.until(lambda: told(cell) == 6, "the leader to tell of all of them")
    before = seen(cell).figures
    cell.schedulers.pop().close()
    cell.scheduler()
    cell.until(lambda: seen(cell).figures != before, "the next leader to tell")
    after = seen(cell)
    assert told(cell) == 6
    assert after.sketches["e2e_s"].count == 6
    assert [one.kind for one in after.events if one.kind == "leader_new"]
    assert [one.seq for one in after.events] == sorted({one.seq for one in after.events})


def test_a_dead_worker_and_its_jobs_are_told(cell: Cell) -> None:
    cell.scheduler()
    worker = cell.worker()
    cell.turn()
    cell.die(worker)
    cell.until(lambda: "worker_dead" in {one.kind for one in seen(cell).events}, "it to be told")
    (event,) = [one for one in seen(cell).events if one.kind == "worker_dead"]
    assert event.source == worker.id


def test_what_cannot_be_told_stops_no_jobs(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a view that fails")

    monkeypatch.setattr(publishing, "_tenants", broken)
    cell.scheduler()
    cell.worker()
    cell.submit(*jobs(3))
    cell.until_ended("j0", "j1", "j2")
    assert cell.outcome("j0") is Outcome.COMPLETED
    assert decode_figures(cell.link.call("GET", cell.keys.figures)) is None
