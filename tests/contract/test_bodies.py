"""A body lives as long as it can be needed: while its job is open, and with a dead one's record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.intake import Ending
from parallax.core.lifecycle import Outcome
from tests.contract.conftest import Cell, job, report

BODY = b"a prompt"


def offered(cell: Cell, **fields: Any) -> str:
    """Submit a job with a body; return its entry."""
    return cell.intake.submit([job(**fields)], "", {"j1": BODY})[0].detail


def running(cell: Cell, **fields: Any) -> Any:
    """Bring such a job to run on w1; return its attempt."""
    cell.join()
    entry = offered(cell, **fields)
    assert cell.route(job(**fields), entry, cell.lead()) == "ok"
    return cell.begin("w1")


def finish(verdict: str) -> Callable[[Cell], None]:
    def end(cell: Cell) -> None:
        attempt = running(cell, max_attempts=1)
        assert cell.attempts().finish([Finish(attempt, verdict, report(attempt))])[0][0] == "ok"

    return end


def terminate(outcome: Outcome, holder: str = "") -> Callable[[Cell], None]:
    def end(cell: Cell) -> None:
        if holder:
            running(cell, deadline_s=60.0)
        else:
            offered(cell, deadline_s=60.0)
        cell.link.call("HSET", cell.keys.job("j1"), "deadline", "1")
        ending = Ending("j1", "acme", outcome, worker=holder)
        assert cell.intake.terminate([ending])[0][0] == "ok"

    return end


def reclaim(cell: Cell) -> None:
    running(cell, max_attempts=1)
    cell.die()
    held = [decode_assignment(entry) for entry in cell.entries()]
    assert cell.rescue.reclaim(cell.lead(), "w1", held) == ["dead"]


GONE = {
    "finish completed": finish("completed"),
    "finish failed": finish("failed"),
    "finish expired": finish("expired"),
    "terminate cancelled": terminate(Outcome.CANCELLED),
    "terminate cancelled while it runs": terminate(Outcome.CANCELLED, "w1"),
    "terminate rejected": terminate(Outcome.REJECTED),
    "terminate expired": terminate(Outcome.EXPIRED),
}
KEPT = {
    "finish dead": finish("retry"),
    "terminate dead": terminate(Outcome.DEAD, "w1"),
    "reclaim dead": reclaim,
}


@pytest.mark.parametrize("path", GONE)
def test_no_end_but_death_leaves_a_body(cell: Cell, path: str) -> None:
    GONE[path](cell)
    assert cell.link.call("EXISTS", cell.keys.body("j1")) == 0
    assert cell.open_jobs() == 0


@pytest.mark.parametrize("path", KEPT)
def test_the_body_of_a_dead_job_goes_with_its_record(cell: Cell, path: str) -> None:
    KEPT[path](cell)
    record, body = (
        cell.link.call("PTTL", key) for key in (cell.keys.job("j1"), cell.keys.body("j1"))
    )
    assert 0 < body <= cell.limits.record_ttl_ms
    assert abs(body - record) < 100  # set in one step
    assert cell.open_jobs() == 0


@pytest.mark.parametrize("path", KEPT)
def test_a_dead_job_with_a_body_can_be_offered_again(cell: Cell, path: str) -> None:
    KEPT[path](cell)
    letters = DeadLetters(cell.link, cell.keys)
    letter = letters.newest(1)[0]
    assert letters.requeue(letter).word == "ok"
    assert cell.link.call("GET", cell.keys.body(letter.successor)) == BODY
    assert cell.link.call("PTTL", cell.keys.body(letter.successor)) == -1  # it is open


def test_an_open_job_keeps_its_body_for_ever(cell: Cell) -> None:
    attempt = running(cell)
    assert cell.attempts().finish([Finish(attempt, "retry", report(attempt))])[0][0] == "requeued"
    assert cell.link.call("PTTL", cell.keys.body("j1")) == -1


@pytest.mark.parametrize("way", ["repair", "terminate"])
def test_the_body_of_a_job_whose_record_is_gone_goes_too(cell: Cell, way: str) -> None:
    offered(cell)
    cell.link.call("DEL", cell.keys.job("j1"))
    if way == "repair":
        assert cell.rescue.repair(cell.lead(), ["j1"], 0) == ["vanished"]
    else:
        assert cell.intake.terminate([Ending("j1", "acme", Outcome.CANCELLED)])[0][0] == "unknown"
    assert cell.link.call("EXISTS", cell.keys.body("j1")) == 0
