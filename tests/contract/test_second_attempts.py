"""Two attempts of one job at once: hedges, and prompts computed by one worker for another."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.broker.store.attempts import Assignment, Finish
from parallax.broker.store.intake import Ending
from parallax.core.lifecycle import Outcome
from parallax.core.words import Reclaimed
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report


def finish(cell: Cell, attempt: Any, verdict: str, worker: str) -> tuple[str, str]:
    return cell.attempts(worker).finish([Finish(attempt, verdict, report(attempt, worker))])[0]


def reclaim(cell: Cell, worker: str) -> list[Reclaimed]:
    cell.die(worker)
    entries = [(e.id, e.fields[1].decode().split()) for e in cell.entries(worker)]
    held = [Assignment(entry, parts[0], parts[1], float(parts[2])) for entry, parts in entries]
    return cell.rescue.reclaim(cell.lead(), worker, held)


def again(cell: Cell, attempt: int, worker: str = "w3") -> Any:
    """Send the job, which waits in its tenant's stream, to another worker, and begin it."""
    cell.join(worker)
    entry = cell.link.call("XRANGE", cell.keys.arrivals("acme"), "-", "+")[0][0].decode()
    assert cell.send(Dispatch("j1", "acme", entry, worker, attempt, 10.0), cell.lead()) == "ok"
    return cell.begin(worker)


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_finisher_wins_and_the_other_is_late(cell: Cell, winner: int) -> None:
    both = list(zip(cell.doubled(job()), ("w1", "w2"), strict=True))
    assert finish(cell, *both[winner][:1], "completed", both[winner][1]) == ("ok", "completed")
    assert finish(cell, *both[1 - winner][:1], "completed", both[1 - winner][1])[0] == "late"
    assert cell.state(job()) == "completed"
    assert cell.events() == ["j1 completed", "j1 late"]  # both are paid for
    assert not cell.entries("w1")
    assert not cell.entries("w2")
    assert cell.open_jobs() == 0


def test_a_lost_reply_to_an_end_is_told_to_the_scheduler_once(cell: Cell) -> None:
    first, second = cell.doubled(job())
    for _ in range(2):
        finish(cell, second, "stopped", "w2")
        finish(cell, first, "completed", "w1")
    assert cell.events() == ["j1 yielded", "j1 completed"]


@pytest.mark.parametrize("verdict", ["failed", "retry", "back", "expired", "stopped"])
@pytest.mark.parametrize("ended", [0, 1])
def test_while_one_lives_the_other_decides_nothing(cell: Cell, verdict: str, ended: int) -> None:
    both = list(zip(cell.doubled(job()), ("w1", "w2"), strict=True))
    assert finish(cell, both[ended][0], verdict, both[ended][1]) == ("yielded", "")
    assert cell.state(job()) == "running"
    assert finish(cell, both[1 - ended][0], verdict, both[1 - ended][1])[0] != "yielded"


def test_there_is_one_second_attempt_and_sending_it_twice_sends_it_once(cell: Cell) -> None:
    cell.doubled(job())
    lease = cell.lead()
    cell.join("w3")
    assert cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), lease) == "ok"
    assert cell.send(Dispatch("j1", "acme", "", "w3", 2, 10.0, hedge=True), lease) == "stale"
    assert cell.send(Dispatch("j1", "acme", "", "w3", 3, 10.0, hedge=True), lease) == "stale"
    assert len(cell.entries("w2")) == 1
    assert not cell.entries("w3")


@pytest.mark.parametrize("dying", ["w1", "w2"])
def test_the_death_of_one_worker_leaves_the_job_with_the_other(cell: Cell, dying: str) -> None:
    first, second = cell.doubled(job())
    assert reclaim(cell, dying) == ["yielded"]
    left, worker = (second, "w2") if dying == "w1" else (first, "w1")
    assert cell.backlog() == 0
    assert finish(cell, left, "completed", worker) == ("ok", "completed")


def test_when_both_die_the_next_attempt_has_a_new_number_and_deaths_count(cell: Cell) -> None:
    cell.doubled(job(max_attempts=2))
    assert reclaim(cell, "w1") == ["yielded"]
    assert reclaim(cell, "w2") == ["dead"]  # two deaths: the second attempt was no present
    assert cell.state(job()) == "dead"


def test_deaths_count_though_the_stream_of_the_first_was_deleted(cell: Cell) -> None:
    cell.doubled(job(max_attempts=2))
    cell.link.call("DEL", cell.keys.work("w1"))
    cell.die("w1")
    assert cell.rescue.repair(cell.lead(), ["j1"], 0) == ["yielded"]
    assert reclaim(cell, "w2") == ["dead"]


def test_a_second_attempt_that_never_ran_takes_no_attempt_away(cell: Cell) -> None:
    first, second = cell.doubled(job(max_attempts=2))
    finish(cell, second, "back", "w2")
    assert finish(cell, first, "retry", "w1")[0] == "requeued"
    last = again(cell, 3)
    assert finish(cell, last, "retry", "w3") == ("ok", "dead")


def test_a_stopped_attempt_that_turns_out_to_be_the_only_one_is_run_again(cell: Cell) -> None:
    """The faster one died after the order to stop this one had been given."""
    first, _ = cell.doubled(job(max_attempts=1))
    reclaim(cell, "w2")
    assert finish(cell, first, "stopped", "w1")[0] == "requeued"
    assert cell.backlog() == 1


@pytest.mark.parametrize(("worker", "hedge_worker", "word"), [
    ("w1", "w2", "ok"), ("w1", "", "moved"), ("w2", "w1", "moved"),
])  # fmt: skip
def test_a_cancel_must_know_both_workers(
    cell: Cell, worker: str, hedge_worker: str, word: str
) -> None:
    cell.doubled(job())
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker=worker, hedge_worker=hedge_worker)
    assert cell.intake.terminate([ending])[0][0] == word
    orders = [cell.link.call("XLEN", cell.keys.control(name)) for name in ("w1", "w2")]
    assert orders == ([1, 1] if word == "ok" else [0, 0])


def test_a_cancelled_second_attempt_that_waits_is_refunded(cell: Cell) -> None:
    cell.join()
    cell.join("w2")
    cell.begun(job())
    cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), cell.lead())
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker="w1", hedge_worker="w2")
    assert cell.intake.terminate([ending])[0][0] == "ok"
    assert cell.events() == ["j1 dropped"]
    assert not cell.entries("w2")


def test_whoever_deletes_an_unwanted_entry_tells_and_nobody_else(cell: Cell) -> None:
    cell.join()
    entry = cell.assigned(job())
    held = [Assignment(entry, "j1", "1", 10.0)]
    cell.link.call("HSET", cell.keys.job("j1"), "at", "queued queue/1/9-9")
    assert cell.rescue.scrub("w1", held) == ["removed"]
    assert cell.attempts("w1").begin(held) == ([], [], [])
    assert cell.events() == ["j1 lost"]  # it may have run: the estimate stands


def handed_over(cell: Cell, **fields: Any) -> Any:
    """Let w1 compute the prompt, and w2 begin the answer."""
    cell.join("w1")
    cell.join("w2")
    first = cell.begun(job(**fields))
    assert finish(cell, first, "prefilled 4 0.25", "w1")[0] == "kept"
    onward = Dispatch("j1", "acme", "", "w2", 2, 10.0, prefilled_by="w1")
    assert cell.send(onward, cell.lead()) == "ok"
    assert cell.send(onward, cell.lead()) == "ok"
    return first


def test_a_prompt_is_handed_over_with_what_is_known_of_it(cell: Cell) -> None:
    handed_over(cell)
    assert not cell.entries("w1")
    assert len(cell.entries("w2")) == 1
    answer = cell.begin("w2")
    prefilled = answer.assignment.prefilled
    assert (prefilled.worker, prefilled.cached_tokens, prefilled.first_s) == ("w1", 4, 0.25)
    assert finish(cell, answer, "completed", "w2") == ("ok", "completed")
    assert cell.events() == ["j1 prefilled", "j1 completed"]


def test_a_computed_prompt_that_nobody_takes_on_is_told_of_again(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job())
    finish(cell, first, "prefilled 4 0.25", "w1")
    cell.link.call("DEL", cell.keys.events)
    assert cell.rescue.repair(cell.lead(), ["j1"], 0) == ["present"]
    assert cell.events() == ["j1 prefilled"]


def test_a_computed_prompt_that_is_read_again_stays(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job())
    finish(cell, first, "prefilled 4 0.25", "w1")
    assert cell.attempts("w1").begin([first.assignment]) == ([], [], [])
    assert len(cell.entries("w1")) == 1
    assert cell.events() == ["j1 prefilled"]


def test_a_worker_that_dies_with_a_computed_prompt_gives_it_back(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job(max_attempts=2))
    finish(cell, first, "prefilled 4 0.25", "w1")
    assert reclaim(cell, "w1") == ["ok"]
    second = again(cell, 2)
    assert second.assignment.prefilled is None  # it starts from the beginning
    finish(cell, second, "prefilled 4 0.25", "w3")
    assert reclaim(cell, "w3") == ["dead"]  # two attempts, two workers


def test_a_computed_prompt_whose_stream_was_deleted_counts_an_attempt_too(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job(max_attempts=1))
    finish(cell, first, "prefilled 4 0.25", "w1")
    cell.link.call("DEL", cell.keys.work("w1"))
    assert cell.rescue.repair(cell.lead(), ["j1"], 0) == ["spent"]


def test_a_hand_over_costs_no_attempt(cell: Cell) -> None:
    """Two workers serve one attempt: what fails after it is tried as often as without it."""
    handed_over(cell, max_attempts=2)
    answer = cell.begin("w2")
    assert finish(cell, answer, "retry", "w2")[0] == "requeued"
    assert finish(cell, again(cell, 3), "retry", "w3") == ("ok", "dead")


def test_handing_back_unharmed_costs_no_attempt(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job(max_attempts=2))
    assert finish(cell, first, "back", "w1")[0] == "requeued"
    assert finish(cell, again(cell, 2), "retry", "w3")[0] == "requeued"
    assert finish(cell, again(cell, 3), "retry", "w3") == ("ok", "dead")


def test_a_worker_that_dies_with_the_answer_gives_the_job_back(cell: Cell) -> None:
    handed_over(cell)
    cell.begin("w2")
    assert reclaim(cell, "w2") == ["ok"]
    assert again(cell, 3).assignment.prefilled is None


def test_a_job_between_two_workers_can_be_cancelled(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job())
    finish(cell, first, "prefilled 4 0.25", "w1")
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker="w1")
    assert cell.intake.terminate([ending])[0][0] == "ok"
    assert not cell.entries("w1")
    assert cell.events() == ["j1 prefilled", "j1 withdrawn"]


def test_a_zombie_that_wins_is_not_refunded_twice(cell: Cell) -> None:
    cell.join("w1")
    first = cell.begun(job())
    reclaim(cell, "w1")
    assert finish(cell, first, "completed", "w1") == ("ok", "completed")
    assert cell.events() == ["j1 lost", "j1 reclaimed"]  # the estimate stood; now it is replaced


def test_of_a_dead_workers_attempts_those_that_had_not_begun_cost_nothing(cell: Cell) -> None:
    cell.join("w1")
    begun = cell.begun(job("ran"))
    cell.assigned(job("waited"))
    finish(cell, cell.begun(job("computed")), "prefilled 4 0.25", "w1")
    assert reclaim(cell, "w1") == ["ok", "ok", "ok"]
    told = dict(line.split() for line in cell.events()[1:])
    assert told == {"ran": "lost", "waited": "dropped", "computed": "lost"}
    finish(cell, begun, "failed", "w1")
    assert len(cell.events()) == 4  # and it is told once


def test_reclaiming_the_same_twice_gives_nothing_back_twice(cell: Cell) -> None:
    """The first reply was lost."""
    cell.join("w1")
    entry = cell.assigned(job())
    cell.die("w1")
    for _ in range(2):
        cell.rescue.reclaim(cell.lead(), "w1", [Assignment(entry, "j1", "1", 10.0)])
    assert cell.events() == ["j1 dropped"]  # who asks again finds nothing to tell of


def test_what_is_scrubbed_of_a_job_that_was_cancelled_while_it_ran_may_have_run(cell: Cell) -> None:
    cell.join("w1")
    attempt = cell.begun(job())
    ending = Ending("j1", "acme", Outcome.CANCELLED, worker="w1")
    assert cell.intake.terminate([ending])[0][0] == "ok"
    assert cell.rescue.scrub("w1", [attempt.assignment], 60_000) == ["kept"]  # it is told to stop
    assert cell.rescue.scrub("w1", [attempt.assignment]) == ["removed"]
    assert cell.events() == ["j1 lost"]


def test_what_another_attempt_has_made_useless_costs_nothing(cell: Cell) -> None:
    """A worker that was believed dead ended the job; what waits elsewhere will not begin."""
    cell.join("w1")
    first = cell.begun(job())
    reclaim(cell, "w1")
    entry = cell.link.call("XRANGE", cell.keys.arrivals("acme"), "-", "+")[0][0].decode()
    cell.join("w3")
    assert cell.send(Dispatch("j1", "acme", entry, "w3", 2, 10.0), cell.lead()) == "ok"
    assert finish(cell, first, "completed", "w1") == ("ok", "completed")
    (waiting,) = cell.entries("w3")
    held = [Assignment(waiting.id, "j1", "2", 10.0)]
    assert cell.rescue.scrub("w3", held) == ["removed"]
    assert cell.events()[-1] == "j1 dropped"
