"""What scripts leave behind: nothing that is finished, and everything that somebody waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parallax.broker.store.attempts import Assignment, Finish, decode_assignment
from parallax.broker.store.intake import Ending
from parallax.core.lifecycle import Outcome
from parallax.core.model import USUAL_ATTEMPTS, Job
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report


def end(cell: Cell, attempt: Any, verdict: str = "completed") -> str:
    return cell.attempts().finish([Finish(attempt, verdict, report(attempt))])[0][0]


def sent(cell: Cell, attempt: int) -> None:
    """Send the job that waits in its tenant's stream to w1."""
    entry = cell.link.call("XRANGE", cell.keys.arrivals("acme"), "-", "+")[0][0].decode()
    assert cell.send(Dispatch("j1", "acme", entry, "w1", attempt, 10.0), cell.lead()) == "ok"


def taken_back(cell: Cell) -> str:
    """Let w1 die, and take back what its stream holds."""
    cell.die()
    held: list[Assignment] = [decode_assignment(entry) for entry in cell.entries()]
    return cell.rescue.reclaim(cell.lead(), "w1", held)[0]


def test_an_accepted_job_rings_and_is_looked_at(cell: Cell) -> None:
    cell.submit(job())
    assert cell.link.call("SISMEMBER", cell.keys.active, "acme") == 1
    assert cell.link.call("XLEN", cell.keys.bell) == 1
    cell.submit(job("j2"))
    assert cell.link.call("XLEN", cell.keys.bell) == 1  # of a tenant that is active already


def test_a_finished_job_leaves_a_record_for_a_while_and_nothing_else(cell: Cell) -> None:
    cell.join()
    entry = cell.intake.submit([job()], "", {"j1": b"a prompt"})[0].detail
    assert cell.link.call("PTTL", cell.keys.job("j1")) == -1  # as long as it is open
    assert cell.link.call("GET", cell.keys.body("j1")) == b"a prompt"
    assert cell.route(job(), entry, cell.lead()) == "ok"
    assert end(cell, cell.begin("w1")) == "ok"
    assert 0 < cell.link.call("PTTL", cell.keys.job("j1")) <= cell.limits.record_ttl_ms
    assert cell.link.call("EXISTS", cell.keys.body("j1")) == 0
    assert (cell.entries(), cell.backlog()) == ([], 0)


def test_who_waits_is_told_of_every_end_for_a_while(cell: Cell) -> None:
    cell.join()
    assert end(cell, cell.begun(job(), reply="inbox")) == "ok"
    other = job("j2")
    cell.submit(other, reply="inbox")
    cell.intake.terminate([Ending("j2", "acme", Outcome.CANCELLED, reply="inbox")])
    _, notices = cell.results.follow("inbox", "", 0)
    assert [(n.job_id, n.outcome) for n in notices] == [
        ("j1", Outcome.COMPLETED), ("j2", Outcome.CANCELLED)
    ]  # fmt: skip
    assert 0 < cell.link.call("PTTL", cell.keys.out("inbox")) <= cell.limits.out_ttl_ms


def test_what_is_not_wanted_any_more_is_out_of_the_stream_once_it_was_looked_at(
    cell: Cell,
) -> None:
    cell.join()
    cell.assigned(job())
    assignment = decode_assignment(cell.entries()[-1])
    cell.link.call("HSET", cell.keys.job("j1"), "at", "queued queue/1/9-9")  # it has moved on
    assert cell.attempts().begin([assignment]) == ([], [], [])
    assert cell.entries() == []


def test_what_is_stolen_is_in_one_stream(cell: Cell) -> None:
    cell.join("w1")
    cell.join("w2")
    cell.assigned(job())
    assert cell.rescue.steal(cell.lead(), "w1", "w2", [("j1", 1, "")], 8) == ["ok"]
    assert (len(cell.entries("w1")), len(cell.entries("w2"))) == (0, 1)


def test_a_death_before_the_beginning_takes_no_attempt_away(cell: Cell) -> None:
    cell.submit(job())
    for attempt in range(1, USUAL_ATTEMPTS + 3):  # a bystander of many deaths
        cell.join()
        sent(cell, attempt)
        assert taken_back(cell) == "ok"
    words = []
    for attempt in range(USUAL_ATTEMPTS + 3, 2 * USUAL_ATTEMPTS + 3):  # now it begins
        cell.join()
        sent(cell, attempt)
        cell.begin("w1")
        words.append(taken_back(cell))
    assert words == ["ok"] * (USUAL_ATTEMPTS - 1) + ["dead"]


def test_a_death_after_the_beginning_does(cell: Cell) -> None:
    cell.submit(job())
    words = []
    for attempt in range(1, USUAL_ATTEMPTS + 1):
        cell.join()
        sent(cell, attempt)
        cell.begin("w1")
        words.append(taken_back(cell))
    assert words == ["ok"] * (USUAL_ATTEMPTS - 1) + ["dead"]


@pytest.mark.parametrize(("entry", "left"), [(True, 0), (False, 1)])  # the second is the control
def test_who_refuses_what_has_ended_elsewhere_takes_it_out_of_its_stream(
    cell: Cell, entry: bool, left: int
) -> None:
    where = cell.submit(job())[0].detail
    cell.link.call("HSET", cell.keys.job("j1"), "at", "completed w1/1/1-1 1 2")  # by a zombie
    end = Ending("j1", "acme", Outcome.REJECTED, entry=where if entry else "")
    for _ in range(2):
        assert cell.intake.terminate([end], cell.lead().token)[0] == ("late", "completed")
        assert cell.backlog() == left


def test_what_is_not_due_yet_stays(cell: Cell) -> None:
    entry = cell.submit(job(deadline_s=60.0))[0].detail
    end = Ending("j1", "acme", Outcome.EXPIRED, entry=entry)
    assert cell.intake.terminate([end])[0][0] == "not_due"
    assert cell.backlog() == 1


DUE = job(deadline_s=3_600.0)


def due(cell: Cell) -> int:
    return int(cell.link.call("ZCARD", cell.keys.due))


def test_a_deadline_is_known_as_long_as_its_job_is_open(cell: Cell) -> None:
    cell.join()
    cell.submit(job("j9"))
    assert due(cell) == 0, "without a deadline there is none"
    attempt = cell.begun(DUE)
    assert due(cell) == 1
    assert end(cell, attempt, "retry") == "requeued"
    assert due(cell) == 1, "it goes on"


@pytest.mark.parametrize("verdict", ["completed", "failed", "expired"])
def test_a_deadline_goes_with_a_job_that_its_worker_ends(cell: Cell, verdict: str) -> None:
    cell.join()
    assert end(cell, cell.begun(DUE), verdict) == "ok"
    assert due(cell) == 0


@pytest.mark.parametrize("state", ["queued", "assigned", "running"])
def test_a_deadline_goes_with_a_job_that_is_cancelled(cell: Cell, state: str) -> None:
    cell.join()
    worker = "" if state == "queued" else "w1"
    bring: dict[str, Callable[[Job], object]] = {
        "queued": cell.submit, "assigned": cell.assigned, "running": cell.begun,
    }  # fmt: skip
    bring[state](DUE)
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker=worker)
    assert cell.intake.terminate([ending])[0][0] == "ok"
    assert due(cell) == 0


def test_a_deadline_goes_with_a_job_whose_attempts_are_used_up(cell: Cell) -> None:
    cell.join()
    cell.begun(job(deadline_s=3_600.0, max_attempts=1))
    assert taken_back(cell) == "dead"
    assert due(cell) == 0
