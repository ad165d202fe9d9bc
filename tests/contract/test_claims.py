"""A part of an answer that was sent claims its job: no other attempt decides it, none begins."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.intake import Ending
from parallax.broker.store.relay import Chunk
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.core.words import Relayed
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report

STREAMS = job(stream=True)


def relay(cell: Cell, attempt: Any, worker: str = "w1", *parts: bytes) -> list[Relayed]:
    chunks = [Chunk(attempt, n, part) for n, part in enumerate(parts or (b"a part",))]
    return cell.attempts(worker).relay(chunks)


def finish(cell: Cell, attempt: Any, verdict: str, worker: str = "w1") -> tuple[str, str]:
    return cell.attempts(worker).finish([Finish(attempt, verdict, report(attempt, worker))])[0]


def claimed(cell: Cell, **fields: Any) -> Any:
    """Let a job that streams run on w1 and send a part of its answer to its own stream."""
    cell.join()
    attempt = cell.begun(job(stream=True, **fields), reply=None)
    assert relay(cell, attempt) == ["ok"]
    return attempt


def told(cell: Cell, reply: str = "j1") -> list[str]:
    return [notice.word for notice in cell.results.follow(reply, "", 0)[1]]


def broken(cell: Cell) -> None:
    """Check that the job has failed for good, since its answer broke off."""
    record = cell.results.records(["j1"])[0]
    assert record is not None
    assert (record.outcome, record.report.reason) == (Outcome.FAILED, Reason.STREAM_BROKEN)
    assert "after a part of the answer was sent" in record.report.error
    assert (cell.open_jobs(), cell.backlog()) == (0, 0)
    assert told(cell) == ["chunk", "failed"]
    assert cell.results.counts().get("failed") == 1


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_part_decides_between_two_attempts(cell: Cell, winner: int) -> None:
    both = list(zip(cell.doubled(STREAMS), ("w1", "w2"), strict=True))
    (first, here), (other, there) = both[winner], both[1 - winner]
    assert relay(cell, first, here) == ["ok"]
    assert relay(cell, other, there) == ["stop"]
    assert relay(cell, first, here) == ["ok"]
    assert finish(cell, other, "completed", there) == ("late", "running")
    assert finish(cell, first, "completed", here) == ("ok", "completed")
    assert cell.events() == ["j1 began", "j1 late", "j1 completed"]


@pytest.mark.parametrize("winner", [0, 1])
def test_who_claimed_nothing_completes_nothing_whatever_its_worker_knows_of_the_job(
    cell: Cell, winner: int
) -> None:
    """A claim stands in the record; a worker of an older version does not tell what streams."""
    both = list(zip(cell.doubled(STREAMS), ("w1", "w2"), strict=True))
    (first, here), (other, there) = both[winner], both[1 - winner]
    assert relay(cell, first, here) == ["ok"]
    unaware = structs.replace(other, stream=False)
    assert finish(cell, unaware, "completed", there) == ("late", "running")
    assert finish(cell, first, "completed", here) == ("ok", "completed")


def test_a_zombie_claims_nothing_from_who_runs_the_job_now(cell: Cell) -> None:
    cell.join("w2")
    cell.join()
    zombie = cell.begun(STREAMS)
    cell.die()
    assert cell.rescue.reclaim(cell.lead(), "w1", [zombie.assignment]) == ["ok"]
    entry = cell.link.call("XRANGE", cell.keys.arrivals("acme"), "-", "+")[0][0].decode()
    assert cell.send(Dispatch("j1", "acme", entry, "w2", 2, 10.0), cell.lead()) == "ok"
    attempt = cell.begin("w2")
    assert relay(cell, zombie) == ["stop"]
    assert relay(cell, attempt, "w2") == ["ok"]
    assert finish(cell, zombie, "completed") == ("late", "running")
    assert finish(cell, attempt, "completed", "w2") == ("ok", "completed")


@pytest.mark.parametrize("verdict", ["retry", "back", "stopped", "failed"])
@pytest.mark.parametrize("winner", [0, 1])
def test_who_is_put_aside_by_a_claim_is_paid_for_once(
    cell: Cell, winner: int, verdict: str
) -> None:
    both = list(zip(cell.doubled(STREAMS), ("w1", "w2"), strict=True))
    (first, here), (other, there) = both[winner], both[1 - winner]
    relay(cell, first, here)
    for _ in range(2):
        assert finish(cell, other, verdict, there) == ("yielded", "")
    assert cell.state(STREAMS) == "running"
    assert finish(cell, first, "completed", here) == ("ok", "completed")
    assert cell.events() == ["j1 began", "j1 yielded", "j1 completed"]


@pytest.mark.parametrize("verdict", ["retry", "back", "stopped", "prefilled 4 0.25"])
def test_a_claimed_job_that_its_worker_gives_back_has_failed(cell: Cell, verdict: str) -> None:
    attempt = claimed(cell)
    assert finish(cell, attempt, verdict) == ("ok", "failed")
    assert finish(cell, attempt, verdict) == ("again", "failed")
    broken(cell)


def test_a_job_that_streams_and_has_sent_nothing_is_tried_again(cell: Cell) -> None:
    """The control."""
    cell.join()
    attempt = cell.begun(STREAMS)
    assert finish(cell, attempt, "retry")[0] == "requeued"
    assert cell.backlog() == 1


def test_a_claimed_job_dies_with_its_worker(cell: Cell) -> None:
    attempt = claimed(cell)
    cell.die()
    for word in ("broken", "done"):
        assert cell.rescue.reclaim(cell.lead(), "w1", [attempt.assignment]) == [word]
    broken(cell)
    assert cell.events() == ["j1 began", "j1 lost"]


@pytest.mark.parametrize("dying", [0, 1])
def test_of_two_attempts_the_death_of_the_one_that_claimed_ends_the_job(
    cell: Cell, dying: int
) -> None:
    both = list(zip(cell.doubled(STREAMS), ("w1", "w2"), strict=True))
    attempt, worker = both[dying]
    relay(cell, attempt, worker)
    cell.die(worker)
    held = [decode_assignment(entry) for entry in cell.entries(worker)]
    assert cell.rescue.reclaim(cell.lead(), worker, held) == ["broken"]
    left, elsewhere = both[1 - dying]
    assert relay(cell, left, elsewhere) == ["stop"]
    assert finish(cell, left, "completed", elsewhere) == ("late", "failed")


@pytest.mark.parametrize("dying", [0, 1])
def test_of_two_attempts_the_death_of_the_other_changes_nothing(cell: Cell, dying: int) -> None:
    both = list(zip(cell.doubled(STREAMS), ("w1", "w2"), strict=True))
    (attempt, worker), (other, dead) = both[1 - dying], both[dying]
    relay(cell, attempt, worker)
    cell.die(dead)
    held = [decode_assignment(entry) for entry in cell.entries(dead)]
    assert held == [other.assignment]
    assert cell.rescue.reclaim(cell.lead(), dead, held) == ["dropped"]
    assert finish(cell, attempt, "completed", worker) == ("ok", "completed")
    assert cell.events() == ["j1 began", "j1 lost", "j1 completed"]


def test_a_claimed_job_that_is_nowhere_is_not_queued_again(cell: Cell) -> None:
    claimed(cell)
    cell.link.call("DEL", cell.keys.work("w1"))
    assert cell.rescue.repair(cell.lead(), ["j1"], 0) == ["broken"]
    assert cell.backlog() == 0
    assert cell.state(STREAMS) == "running"  # who asked ends it


def test_a_claimed_job_is_neither_doubled_nor_stolen(cell: Cell) -> None:
    claimed(cell)
    cell.join("w2")
    lease = cell.lead()
    hedge = Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True)
    assert cell.send(hedge, lease) == "stale"
    assert cell.rescue.steal(lease, "w1", "w2", [("j1", 1, "")], 8) == ["started"]
    assert not cell.entries("w2")


def test_a_job_that_streams_may_be_doubled_before_it_is_claimed(cell: Cell) -> None:
    """The control."""
    cell.doubled(STREAMS)


def test_a_claimed_job_can_be_cancelled_and_its_worker_is_told(cell: Cell) -> None:
    attempt = claimed(cell)
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker="w1", reply="j1")
    assert cell.intake.terminate([ending])[0][0] == "ok"
    assert cell.link.call("XLEN", cell.keys.control("w1")) == 1
    assert relay(cell, attempt) == ["stop"]
    assert told(cell) == ["chunk", "cancelled"]


def test_a_zombie_sends_nothing_of_a_job_that_waits_again(cell: Cell) -> None:
    cell.join()
    attempt = cell.begun(STREAMS, reply=None)
    cell.die()
    assert cell.rescue.reclaim(cell.lead(), "w1", [attempt.assignment]) == ["ok"]
    assert relay(cell, attempt) == ["stop"]
    assert finish(cell, attempt, "completed") == ("late", "queued")  # nobody saw its parts
    assert cell.backlog() == 1
    assert told(cell) == []


def test_a_zombie_may_complete_what_does_not_stream(cell: Cell) -> None:
    """The control."""
    cell.join()
    attempt = cell.begun(job())
    cell.die()
    cell.rescue.reclaim(cell.lead(), "w1", [attempt.assignment])
    assert finish(cell, attempt, "completed") == ("ok", "completed")


def test_what_waits_elsewhere_when_a_job_is_claimed_never_begins(cell: Cell) -> None:
    cell.join("w1")
    cell.join("w2")
    first = cell.begun(STREAMS)
    assert cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), cell.lead()) == "ok"
    assert relay(cell, first) == ["ok"]
    waiting = decode_assignment(cell.entries("w2")[0])
    assert cell.attempts("w2").begin([waiting]) == ([], [], [])
    assert cell.events() == ["j1 began", "j1 dropped"]


def test_what_never_sent_a_part_is_completed_by_any_attempt_of_its_own(cell: Cell) -> None:
    """An engine may have nothing to say."""
    _, second = cell.doubled(STREAMS)
    assert finish(cell, second, "completed", "w2") == ("ok", "completed")
