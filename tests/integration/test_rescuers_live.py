"""Hedging, stealing and the split of phases, on real streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.profiles import profile_named
from parallax.services.clock import SystemClock
from tests.integration.cells import QUICK, Cell, StuckEngine, job, jobs, scheduler_of

#: Doubles every attempt at once, whatever it costs.
EAGER = PolicyChoice("tied", {"budget": 1.0, "saturation": 1.0})
SPREAD = PolicyChoice("round_robin")


class Steady(StuckEngine):
    """One slot, never ending: what comes after the first waits before the engine."""

    def __init__(self) -> None:
        super().__init__(1)


def hedged(connect: Callable[[], Link]) -> tuple[Cell, Worker, Worker]:
    """Return a cell where a job runs on a stuck worker and, beside it, on another."""
    cell = Cell(connect, Policies(hedging=EAGER, routing=SPREAD))
    cell.scheduler()
    slow, other = cell.worker(StuckEngine(4)), cell.worker(StuckEngine(4))
    cell.submit(job("j"))
    cell.until(lambda: (r := cell.record("j")) and r.hedge_worker, "a second attempt")
    record = cell.record("j")
    assert record is not None
    assert {record.worker, record.hedge_worker} == {slow.id, other.id}
    first = slow if record.worker == slow.id else other
    return cell, first, other if first is slow else slow


def let_go(worker: Worker) -> None:
    worker._engine.stuck = False  # type: ignore[attr-defined]


def running(worker: Worker) -> int:
    return len(worker.desk.running)


@pytest.mark.parametrize("winner", ["first", "second"])
def test_the_faster_attempt_wins_and_the_other_is_stopped(
    connect: Callable[[], Link], winner: str
) -> None:
    cell, first, second = hedged(connect)
    won, lost = (first, second) if winner == "first" else (second, first)
    cell.until(lambda: running(first) and running(second), "both to run")
    let_go(won)
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED
    assert cell.record("j").worker == won.id  # type: ignore[union-attr]
    cell.until(lambda: not running(lost), "the order to stop")
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 0, "its end to be told")
    assert cell.counts()["hedged"] == 1


def test_a_second_attempt_outlives_the_first(connect: Callable[[], Link]) -> None:
    cell, first, second = hedged(connect)
    cell.die(first)
    cell.until(lambda: cell.record("j").worker == second.id, "it to take over")  # type: ignore[union-attr]
    let_go(second)
    cell.until_ended("j")
    assert cell.record("j").attempts == 2  # type: ignore[union-attr]
    assert cell.counts().get("reclaimed", 0) == 0


def test_a_hedged_job_can_be_cancelled(connect: Callable[[], Link]) -> None:
    cell, first, second = hedged(connect)
    assert cell.cancel("j") == "ok"
    cell.until(lambda: not running(first) and not running(second), "both to stop")
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 0, "both ends to be told")


def test_a_new_leader_knows_both_attempts(connect: Callable[[], Link]) -> None:
    cell, first, second = hedged(connect)
    cell.schedulers.pop()
    cell.link.call("DEL", cell.keys.leader)
    new = cell.scheduler()
    cell.until(lambda: scheduler_of(new).in_flight == 2, "the new leader to find both")
    let_go(second)
    cell.until_ended("j")
    cell.until(lambda: not running(first), "the new leader to stop the other")


def test_an_idle_worker_takes_what_another_has_not_begun(connect: Callable[[], Link]) -> None:
    cell = Cell(
        connect,
        Policies(stealing=PolicyChoice("steal_half"), gate=PolicyChoice("jbsq", {"prefetch": 6})),
    )
    cell.scheduler()
    busy = cell.worker(Steady())
    cell.submit(*jobs(5))
    cell.until(lambda: len(busy.desk.waiting) == 4, "four to wait there")
    cell.worker(NoopEngine(4))
    cell.until(lambda: cell.counts().get("completed", 0) == 4, "the other one to take them")
    assert cell.counts()["stolen"] == 4
    let_go(busy)
    cell.until(lambda: cell.counts().get("completed", 0) == 5, "the last one to end")
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 0, "all ends to be told")


def split(connect: Callable[[], Link], **engines: ClockEngine) -> tuple[Cell, Worker, Worker]:
    """Return a cell with one worker for prompts and one for answers."""
    cell = Cell(
        connect,
        Policies(routing=PolicyChoice("disaggregated", {"min_tokens": 10, "disturbance": 1e6})),
    )
    cell.scheduler()
    prompts = cell.worker(engines.get("prompts") or fast(), "prefill")
    return cell, prompts, cell.worker(engines.get("answers") or fast(), "decode")


def fast() -> ClockEngine:
    return ClockEngine(profile_named("laptop"), 100.0, SystemClock())


def test_one_worker_computes_the_prompt_and_another_answers(connect: Callable[[], Link]) -> None:
    cell, prompts, answers = split(connect)
    cell.submit(job("j", prompt_tokens=1000), job("short", prompt_tokens=5))
    cell.until_ended("j", "short")
    record, short = cell.record("j"), cell.record("short")
    assert record is not None
    assert short is not None
    assert (record.worker, record.attempts) == (answers.id, 2)
    assert record.report.output_tokens == 5
    assert record.ttft_s is not None
    assert record.e2e_s is not None
    assert record.ttft_s <= record.e2e_s
    assert (short.worker, short.attempts) == (answers.id, 1)  # not worth the way
    assert cell.counts()["kept"] == 1
    assert cell.link.call("XLEN", cell.keys.work(prompts.id)) == 0


def test_either_side_may_die(connect: Callable[[], Link]) -> None:
    slow = ClockEngine(profile_named("laptop"), 0.001, SystemClock())
    cell, prompts, answers = split(connect, answers=slow)
    cell.submit(job("short", prompt_tokens=5), job("j", prompt_tokens=1000))
    cell.until(lambda: (r := cell.record("j")) and r.attempts == 2, "the hand-over")
    cell.die(answers)
    cell.until(lambda: cell.state("j") in {State.QUEUED, State.PREFILLED}, "it to come back")
    cell.worker(fast(), "decode")
    cell.die(prompts)
    cell.worker(fast(), "prefill")
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED


def test_a_lost_word_of_an_end_frees_its_slot_in_time(connect: Callable[[], Link]) -> None:
    """What workers told was deleted before the leader read it."""
    cell = Cell(connect)
    quick = replace(QUICK, repair_grace_s=0.5)
    scheduler = cell.scheduler(quick)
    worker = cell.worker(StuckEngine(4))
    cell.submit(job("j"))
    cell.until(lambda: running(worker), "it to run")
    let_go(worker)
    worker.run_once()
    assert cell.outcome("j") is Outcome.COMPLETED
    cell.link.call("DEL", cell.keys.events)
    assert scheduler_of(scheduler).in_flight == 1
    cell.until(lambda: scheduler_of(scheduler).in_flight == 0, "the leader to look for it")
