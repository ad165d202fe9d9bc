"""Accounts are saved with the events that they contain: a new leader neither loses one nor counts
it twice."""

from __future__ import annotations

import pytest

from parallax.broker.store.attempts import Finish
from parallax.broker.store.dispatch import Dispatching
from parallax.core.errors import Fenced
from tests.contract.conftest import Cell, job, report
from tests.contract.scenes.table import STRANGER


def ended(cell: Cell, name: str) -> None:
    """Let a job run and complete, so that its worker tells of it."""
    attempt = cell.begun(job(name))
    assert cell.attempts().finish([Finish(attempt, "completed", report(attempt))])[0][0] == "ok"


@pytest.fixture
def leader(cell: Cell) -> Dispatching:
    """Return a leader that has read of the end of one job; a second one has ended since."""
    cell.join()
    ended(cell, "j1")
    leader = cell.dispatching
    assert len(leader.read([], 100, 0).events) == 1
    ended(cell, "j2")
    return leader


def test_what_was_read_goes_with_the_commit_and_what_was_not_stays(
    cell: Cell, leader: Dispatching
) -> None:
    leader.commit(cell.lead(), [], {}, {"acme": 1.0})
    assert cell.events() == ["j2 completed"]
    assert len(cell.dispatching.read([], 100, 0).events) == 1  # all that a new leader reads


def test_a_commit_of_who_has_read_nothing_drops_nothing(cell: Cell, leader: Dispatching) -> None:
    cell.dispatching.commit(cell.lead(), [], {}, {"acme": 1.0})
    assert cell.events() == ["j1 completed", "j2 completed"]


def test_who_does_not_lead_drops_nothing(cell: Cell, leader: Dispatching) -> None:
    cell.lead()
    with pytest.raises(Fenced):
        leader.commit(STRANGER, [], {}, {"acme": 1.0})
    assert cell.events() == ["j1 completed", "j2 completed"]
