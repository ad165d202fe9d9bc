"""What was computed is charged, on real streams: stopped, cancelled, lost or handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Cancellation, Finish
from parallax.broker.store.tenancy import Tenancy
from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.news import Leave, Read
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.profiles import profile_named
from parallax.policies.fairness.fair_queuing import FairQueuing
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell, StuckEngine, job, scheduler_of, term_of
from tests.waiting import wait_until

CLOCK = SystemClock()


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    return Cell(connect)


def engine(speed: float) -> ClockEngine:
    return ClockEngine(profile_named("laptop"), speed, CLOCK)


def charged(cell: Cell, tenant: str = "acme") -> float:
    """Return all that the only tenant there is was charged.

    That is its balance, or virtual time once that has come so far.
    """
    cell.until(lambda: scheduler_of(cell.schedulers[-1]).in_flight == 0, "all ends to be told")
    cell.until(lambda: not term_of(cell.schedulers[-1])._outbox.uncommitted, "a commit")
    balance, virtual = cell.link.call("HMGET", cell.keys.ledger, tenant, "")
    return float(balance or virtual or 0)


def run_for(cell: Cell, worker: Worker, name: str, seconds: float) -> None:
    """Take turns until an attempt has been in the engine for so long."""
    cell.until(
        lambda: (
            name in worker.desk.running
            and CLOCK.monotonic() - worker.desk.running[name].added > seconds
        ),
        f"{name} to run for a while",
    )


def test_who_cancels_in_the_middle_of_an_answer_pays_for_what_was_said(cell: Cell) -> None:
    cell.scheduler()
    worker = cell.worker(engine(0.05))  # 6 ms a token
    cell.submit(job("j", prompt_tokens=10, max_tokens=4_000, output_tokens=4_000))
    run_for(cell, worker, "j", 0.4)
    assert cell.cancel("j") == "ok"
    assert 10 + 2 * 20 <= charged(cell) < 10 + 2 * 3_000


def test_who_cancels_before_the_first_token_pays_for_what_was_computed(cell: Cell) -> None:
    cell.scheduler()
    worker = cell.worker(engine(0.005))  # 20 steps of 1.7 s
    cell.submit(job("j", prompt_tokens=40_000, output_tokens=5))
    run_for(cell, worker, "j", 0.4)
    assert worker.desk.running["j"].first is None
    assert cell.cancel("j") == "ok"
    assert 2_048 <= charged(cell) < 40_000


def test_a_drain_gives_back_what_has_begun_and_it_is_paid_for(cell: Cell) -> None:
    cell.scheduler()
    worker = cell.worker(engine(0.05))
    cell.submit(job("j", prompt_tokens=40_000, output_tokens=1, max_tokens=1))
    run_for(cell, worker, "j", 0.4)
    worker.drain()
    cell.until(lambda: worker.drained, "the drain")
    cell.workers.remove(worker)
    worker.close()
    cell.worker(StuckEngine(4))._engine.stuck = False  # type: ignore[attr-defined]
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED
    assert charged(cell) >= 40_002 + 2 * 2_048


def test_of_a_dead_worker_what_ran_costs_its_estimate_and_what_waited_nothing(cell: Cell) -> None:
    cell.scheduler()
    worker = cell.worker(StuckEngine(1))
    cell.submit(job("ran", max_attempts=1))
    cell.until(lambda: cell.state("ran") is State.RUNNING, "it to run")
    cell.submit(job("waited"))
    cell.until(lambda: cell.state("waited") is State.ASSIGNED, "the prefetch")
    cell.die(worker)
    cell.until_ended("ran")
    assert cell.outcome("ran") is Outcome.DEAD
    assert cell.cancel("waited") == "ok"
    record = cell.record("ran")
    assert record is not None
    assert record.report.estimate == pytest.approx(charged(cell))


@pytest.mark.parametrize("leader_too", [False, True])
def test_nobody_believes_in_attempts_of_a_worker_that_died_with_the_leader(
    cell: Cell, leader_too: bool
) -> None:
    cell.scheduler()
    worker = cell.worker(StuckEngine(4))
    cell.submit(*(job(f"j{n}", max_attempts=1) for n in range(3)))
    cell.until(lambda: len(worker.desk.running) == 3, "all to run")
    if leader_too:
        cell.schedulers.clear()
        cell.link.call("DEL", cell.keys.leader)
        cell.scheduler()
    cell.die(worker)
    cell.until_ended("j0", "j1", "j2")
    records = [cell.record(f"j{n}") for n in range(3)]
    assert charged(cell) == pytest.approx(sum(r.report.estimate for r in records if r))


def test_a_computed_prompt_is_paid_for_though_nobody_answers(connect: Callable[[], Link]) -> None:
    choice = PolicyChoice("disaggregated", {"min_tokens": 10, "disturbance": 1e6})
    cell = Cell(connect, Policies(routing=choice))
    cell.scheduler()
    cell.worker(engine(100.0), "prefill")
    cell.submit(job("j", prompt_tokens=1_000))
    cell.until(lambda: cell.state("j") is State.PREFILLED, "the prompt to be computed")
    assert cell.cancel("j") == "ok"
    assert charged(cell) == 1_000 + 2


@pytest.mark.dear
def test_estimates_are_taken_back_at_the_weight_at_which_they_were_charged(
    connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[float | None] = []
    settle = FairQueuing.settle

    def noted(
        self: FairQueuing, tenant: str, estimate: float, used: float, weight: float | None = None
    ) -> None:
        settled.append(weight)
        settle(self, tenant, estimate, used, weight)

    monkeypatch.setattr(FairQueuing, "settle", noted)
    cell = Cell(connect)
    tenancy = Tenancy(cell.connect(), cell.keys)
    tenancy.set_weights({"acme": 100.0})
    scheduler = cell.scheduler()
    stuck = StuckEngine(8)
    worker = cell.worker(stuck)
    cell.submit(*(job(f"j{n}", max_tokens=2_000) for n in range(8)))
    cell.until(lambda: len(worker.desk.running) == 8, "all to run")
    tenancy.set_weights({"acme": 1.0})
    cell.until(lambda: scheduler_of(scheduler)._line.weight("acme") == 1.0, "the news")
    cell.submit(job("later"))
    stuck.stuck = False
    cell.until(lambda: len(settled) == 9, "all to be settled")
    assert sorted(settled, key=str) == [1.0, *[100.0] * 8]


def test_a_worker_whose_heartbeat_may_have_expired_begins_nothing(cell: Cell) -> None:
    """Others may have been given its jobs by then."""
    scheduler = cell.scheduler()
    worker = cell.worker()
    cell.submit(job("j"))

    def sent() -> bool:
        scheduler.run_once()
        return cell.state("j") is State.ASSIGNED

    wait_until(sent, "it to be sent")
    worker.heartbeat._renewed -= 3_600.0
    assert not worker.heartbeat.fresh
    for _ in range(3):
        worker.run_once()
    assert cell.state("j") is State.ASSIGNED
    worker.heartbeat.beat()
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED


@pytest.mark.parametrize("ended", ["stopped", "back"])
@pytest.mark.sampled(1)
def test_tokens_are_told_of_whatever_stops_an_attempt(cell: Cell, ended: str) -> None:
    cell.scheduler()
    worker = cell.worker(engine(0.05))
    cell.submit(job("j", max_tokens=4_000, output_tokens=4_000))
    run_for(cell, worker, "j", 0.3)
    finishes: list[Finish] = []

    async def noted(some: Sequence[Finish]) -> list[tuple[str, str]]:
        finishes.extend(some)
        return [("ok", "")] * len(some)

    worker._errands.finish = noted  # type: ignore[method-assign, assignment]
    order = Read(orders=[Cancellation("j", "1")])
    worker._hear(order if ended == "stopped" else Leave())
    worker.run_once()
    (finish,) = finishes
    assert finish.verdict == ended
    assert finish.report.prompt_tokens == 10
    assert finish.report.output_tokens > 10


def test_a_client_cancels_both_attempts_of_a_job(embedded_url: str) -> None:
    eager = PolicyChoice("tied", {"budget": 1.0, "saturation": 1.0})
    policies = Policies(hedging=eager, routing=PolicyChoice("round_robin"))
    cell = Cell(lambda: Link.to(embedded_url), policies)
    cell.scheduler()
    workers = [cell.worker(StuckEngine(4)) for _ in range(2)]
    cell.submit(job("j"))
    cell.until(lambda: all(w.desk.running for w in workers), "both attempts to run")
    client = Client(embedded_url, "cell")
    try:
        assert client.cancel("j") == "ok"
    finally:
        client.close()
    assert cell.outcome("j") is Outcome.CANCELLED
    cell.until(lambda: not any(w.desk.running for w in workers), "both to stop")
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 0, "both ends to be told")
