"""Jobs through a whole cell, turned by hand: every way to the end, and what may go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.store.answers import Answer
from parallax.broker.store.attempts import Attempts, Finish
from parallax.consumers import desk
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import Policies, PolicyChoice
from parallax.core.words import Finished
from tests.integration.cells import QUICK, Cell, StuckEngine, job, jobs, term_of


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    return Cell(connect)


def names(count: int) -> list[str]:
    return [f"j{n}" for n in range(count)]


def test_jobs_of_several_tenants_run_to_their_records(cell: Cell) -> None:
    cell.scheduler()
    cell.worker()
    cell.submit(*jobs(300))
    cell.until_ended(*names(300))
    record = cell.record("j7")
    assert record is not None
    assert (record.state, record.attempts, record.report.output_tokens) == (State.COMPLETED, 1, 5)
    assert record.e2e_s is not None
    assert record.e2e_s >= 0
    assert cell.counts()["completed"] == 300
    assert cell.link.call("ZCARD", cell.keys.open) == 0


def test_a_job_submitted_twice_runs_once(cell: Cell) -> None:
    cell.scheduler()
    cell.worker()
    assert [cell.submit(job("j0"))[0].word for _ in range(2)] == ["ok", "dup"]
    cell.until_ended("j0")
    assert cell.submit(job("j0"))[0].word == "dup"
    assert cell.submit(job("j0", prompt_tokens=11))[0].word == "conflict"
    assert cell.counts()["completed"] == 1


def test_a_job_can_be_cancelled_wherever_it_is(cell: Cell) -> None:
    engine = StuckEngine(1)
    cell.scheduler()
    cell.submit(job("running"))
    worker = cell.worker(engine)
    cell.until(lambda: cell.state("running") is State.RUNNING, "it to run")
    cell.submit(job("assigned"), job("queued"))
    cell.until(lambda: cell.state("assigned") is State.ASSIGNED, "the prefetch")
    assert cell.state("queued") is State.QUEUED
    for name in ("queued", "assigned", "running"):
        assert cell.cancel(name) == "ok"
        assert cell.outcome(name) is Outcome.CANCELLED
        assert cell.cancel(name) == "again"
    cell.until(lambda: not worker.desk.running, "the engine to be told")
    cell.submit(job("next"))
    engine.stuck = False
    cell.until_ended("next")
    assert cell.outcome("next") is Outcome.COMPLETED


def test_a_deadline_passes_in_the_queue_and_before_the_engine(cell: Cell) -> None:
    cell.scheduler()
    cell.submit(job("queued", deadline_s=0.05))
    cell.until_ended("queued")
    assert cell.outcome("queued") is Outcome.EXPIRED
    cell.worker(StuckEngine(1))
    cell.submit(job("running"))
    cell.until(lambda: cell.state("running") is State.RUNNING, "it to run")
    cell.submit(job("assigned", deadline_s=0.3))
    cell.until(lambda: cell.state("assigned") is State.ASSIGNED, "the prefetch")
    assert cell.cancel("running") == "ok"
    cell.link.call("HSET", cell.keys.job("assigned"), "deadline", "1")
    cell.until_ended("assigned")
    assert cell.outcome("assigned") is Outcome.EXPIRED


def test_admission_refuses_with_a_record(connect: Callable[[], Link]) -> None:
    limits = {"max_jobs_per_tenant": 2}
    cell = Cell(connect, Policies(admission=PolicyChoice("thresholds", limits)))
    cell.scheduler()
    cell.submit(*jobs(5, tenants="a"))
    cell.until(lambda: cell.counts().get("rejected") == 3, "three refusals")
    record = cell.record("j4")
    assert record is not None
    assert record.report.error == "rejected: tenant_queue_full"
    assert record.report.retry_after_s
    cell.worker()
    cell.until_ended(*names(5))
    assert cell.counts()["completed"] == 2


def test_a_worker_that_drains_gives_back_what_it_has_not_ended(cell: Cell) -> None:
    cell.scheduler()
    leaver = cell.worker(StuckEngine(2))
    cell.submit(*jobs(3))
    cell.until(lambda: len(leaver.desk.running) == 2, "two to run")
    leaver.drain()
    cell.until(lambda: leaver.drained, "the drain")
    cell.workers.remove(leaver)
    leaver.close()
    cell.worker()
    cell.until_ended(*names(3))
    assert cell.counts()["completed"] == 3
    assert cell.record("j0").attempts == 2  # type: ignore[union-attr]


def test_what_a_dead_worker_held_is_run_by_another(cell: Cell) -> None:
    cell.scheduler()
    victim = cell.worker(StuckEngine(2))
    cell.submit(*jobs(3))
    cell.until(lambda: len(victim.desk.running) == 2, "two to run")
    cell.die(victim)
    cell.worker()
    cell.until_ended(*names(3))
    assert cell.counts()["completed"] == 3
    assert cell.counts()["reclaimed"] == 3


def test_a_job_whose_workers_always_die_becomes_a_dead_letter(cell: Cell) -> None:
    cell.scheduler()
    cell.submit(job("poison", max_attempts=2))
    for _ in range(2):
        victim = cell.worker(StuckEngine(1))
        cell.until(lambda v=victim: v.desk.running, "it to run")  # type: ignore[misc]
        cell.die(victim)
    cell.until_ended("poison")
    assert cell.outcome("poison") is Outcome.DEAD
    record = cell.record("poison")
    assert record is not None
    assert "died during attempt 2" in record.report.error
    assert [letter["job"] for letter in cell.dead_letters()] == ["poison"]


def test_a_worker_wrongly_believed_dead_may_still_win_once(cell: Cell) -> None:
    cell.scheduler()
    engine = StuckEngine(1)
    slow = cell.worker(engine)
    cell.submit(job("j0"))
    cell.until(lambda: slow.desk.running, "it to run")
    cell.die(slow)
    cell.worker()
    cell.until_ended("j0")
    engine.stuck = False
    slow.run_once()  # it finishes too, and is told that it is late
    assert cell.counts()["completed"] == 1
    assert cell.counts()["late"] == 1


@pytest.mark.dear
def test_a_standby_takes_over_and_every_job_ends_once(cell: Cell) -> None:
    first = cell.scheduler()
    engine = StuckEngine(4)
    cell.worker(engine)
    cell.submit(*jobs(60))
    cell.until(lambda: cell.state("j0") is State.RUNNING, "work to begin")
    assert first.leading
    cell.schedulers.clear()
    cell.link.call("DEL", cell.keys.leader)
    second = cell.scheduler()
    engine.stuck = False
    cell.until_ended(*names(60))
    assert second.leading
    cell.schedulers[:] = [first]  # the old leader wakes up and believes to lead
    cell.submit(job("late"))
    cell.turn()
    assert [service.leading for service in (first, second)] == [False, True]
    assert cell.state("late") is State.QUEUED
    assert cell.counts()["completed"] == 60


def test_balances_survive_a_leader_that_dies_between_turns(cell: Cell) -> None:
    def balance(interrupted: bool) -> float:
        cell.link.call("FLUSHALL")
        cell.schedulers.clear()
        cell.workers.clear()
        cell.scheduler()
        cell.worker()
        cell.submit(*(job(f"j{n}", "acme", output_tokens=5 + n % 3) for n in range(80)))
        for n in range(200):
            cell.turn()
            if interrupted and n % 7 == 3:
                cell.schedulers.clear()
                cell.link.call("DEL", cell.keys.leader)
                cell.scheduler()
            if cell.counts().get("completed") == 80:
                break
        cell.until(lambda: not cell.link.call("XLEN", cell.keys.events), "the last commit")
        return float(cell.link.call("HGET", cell.keys.ledger, "acme"))

    true = sum(10 + 2 * (5 + n % 3) for n in range(80))
    assert balance(interrupted=False) == pytest.approx(true)
    assert balance(interrupted=True) == pytest.approx(true)


@pytest.mark.dear
def test_a_stream_that_was_deleted_is_repaired(cell: Cell) -> None:
    cell.scheduler()
    cell.submit(*jobs(3, tenants="a"))
    cell.link.call("DEL", cell.keys.arrivals("a"))
    long_ago = [item for name in names(3) for item in (1, name)]
    cell.turn()
    assert cell.state("j0") is State.QUEUED
    cell.link.call("ZADD", cell.keys.open, "XX", *long_ago)
    cell.worker()
    cell.until_ended(*names(3))
    assert cell.counts()["repaired"] == 3


def test_entries_nobody_rang_for_are_found(cell: Cell) -> None:
    cell.scheduler()
    cell.worker()
    cell.submit(job("j0"))
    cell.link.call("DEL", cell.keys.active, cell.keys.bell)
    cell.until_ended("j0")
    assert cell.outcome("j0") is Outcome.COMPLETED


def test_a_turn_costs_the_same_round_trips_whatever_its_batch(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = replace(QUICK, poll_s=10.0, sweep_s=3600.0, lease_s=60.0, idle_s=3600.0)
    service, worker = cell.scheduler(calm), cell.worker()
    cell.submit(job("first"))  # scripts are loaded, the tenant is active, the worker is known
    cell.until_ended("first")
    cell.until(lambda: not cell.link.call("XLEN", cell.keys.events), "the last commit")
    cell.until(lambda: not term_of(service)._sweeping, "the first sweep to end")
    # What is done by the clock costs trips of its own, whenever it is due: not in these turns.
    term_of(service)._timetable._due.update(poll=inf, keep=inf, sweep=inf)
    monkeypatch.setattr(desk, "LOOK_S", inf)
    sent, here = 0, threading.current_thread()
    send = Link.send

    def counted(link: Link, commands):  # type: ignore[no-untyped-def]
        nonlocal sent
        sent += threading.current_thread() is here  # not the keepers of leases
        send(link, commands)

    monkeypatch.setattr(Link, "send", counted)
    costs = []
    for size in (1, 90):
        cell.submit(*(job(f"s{size}-{n}") for n in range(size)))
        sent = 0
        service.run_once()
        scheduling, sent = sent, 0
        worker.run_once()
        costs.append((scheduling, sent))
        cell.until(lambda: not cell.link.call("XLEN", cell.keys.events), "the last commit")
    assert costs == [(2, 3), (2, 3)]  # read, commit; read, begin, finish


def test_an_end_that_could_not_be_told_is_told_again(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell.scheduler()
    worker, finish = cell.worker(), Attempts.finish
    lost: list[str] = []

    def silent(attempts: Attempts, finishes: Sequence[Finish]) -> Dialogue[list[Answer[Finished]]]:
        if finishes and not lost:
            lost.append(finishes[0].attempt.job_id)
            raise Unreachable("nobody answers")
        return finish(attempts, finishes)

    monkeypatch.setattr(Attempts, "finish", silent)
    cell.submit(job("j"))
    cell.until_ended("j")
    assert lost == ["j"]
    assert (cell.outcome("j"), worker.completed) == (Outcome.COMPLETED, 1)


def test_what_ended_while_it_waited_leaves_its_stream_however_it_is_refused(cell: Cell) -> None:
    cell.submit(job("late", deadline_s=0.001), job("on-time"))
    for name in ("late", "on-time"):  # a worker that was believed dead has finished both
        cell.link.call("HSET", cell.keys.job(name), "at", "completed w/1/1-1 1 2")
        cell.link.call("ZREM", cell.keys.open, name)
    cell.scheduler()
    cell.worker()
    cell.until(lambda: not cell.link.call("XLEN", cell.keys.arrivals("acme")), "an empty stream")
    assert [cell.outcome(name) for name in ("late", "on-time")] == [Outcome.COMPLETED] * 2
