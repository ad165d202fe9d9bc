"""Policies that change while a cell runs, and what a new leader still knows."""

from __future__ import annotations

from collections.abc import Callable

from parallax.broker.link.connection import Link
from parallax.broker.store.ledger import Ledger
from parallax.broker.store.policies import Choice, PolicyStore, Rollout
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.lifecycle import Outcome
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.prediction.bucket_quantile import BucketQuantile
from parallax.scheduling.memory import Memory
from parallax.scheduling.scheduler import build_scheduler
from parallax.services.accounts import Accounts
from parallax.services.choices import arms_of
from tests.integration.cells import Cell, StuckEngine, job, jobs, scheduler_of


def settled(cell: Cell) -> None:
    """Take turns until the leader has heard of everything."""
    cell.until(lambda: not cell.link.call("XLEN", cell.keys.events), "the last commit")


FAST_TEST = {"percent": 50.0, "difference": 0.5, "fewest": 20, "enough": 40, "warm_up": 0}


def choose(cell: Cell, kind: str, name: str, **parameters: float) -> None:
    store = PolicyStore(cell.link, cell.keys)
    before = store.read()
    store.replace(before, overrides=before.overrides | {kind: Choice(name, dict(parameters))})


def policy_of(cell: Cell, part: str) -> str:
    return type(getattr(scheduler_of(cell.schedulers[0])._policies, part)).__name__


def start(cell: Cell, **fields: float) -> None:
    store = PolicyStore(cell.link, cell.keys)
    canary = Choice("canary", dict(FAST_TEST))
    store.replace(store.read(), rollout=Rollout(Choice("round_robin"), canary, **fields))


def test_a_policy_changes_and_nothing_is_lost_or_run_twice(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    engine = StuckEngine(5)
    worker = cell.worker(engine)
    cell.submit(*jobs(40))
    cell.until(lambda: len(worker.desk.running) == 5, "some to run")
    before = cell.link.call("XRANGE", cell.keys.work(worker.id), "-", "+")
    choose(cell, "ordering", "fcfs")
    choose(cell, "routing", "power_of_two", choices=3)
    cell.until(lambda: policy_of(cell, "routing") == "PowerOfTwo", "the leader to change")
    assert policy_of(cell, "ordering") == "Fcfs"
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 6, "what is sent to be known")
    assert cell.link.call("XRANGE", cell.keys.work(worker.id), "-", "+") == before
    engine.stuck = False
    cell.until_ended(*(f"j{n}" for n in range(40)))
    assert cell.counts()["completed"] == 40
    assert {cell.record(f"j{n}").attempts for n in range(40)} == {1}  # type: ignore[union-attr]


def test_balances_are_the_same_before_and_after_a_change(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker(NoopEngine(100))
    cell.submit(*jobs(30))
    cell.until_ended(*(f"j{n}" for n in range(30)))
    settled(cell)
    before = Accounts(Ledger(cell.link, cell.keys)).begin()
    assert before[""] > 0
    choose(cell, "ordering", "edf")
    cell.until(lambda: policy_of(cell, "ordering") == "Edf", "the leader to change")
    assert Accounts(Ledger(cell.link, cell.keys)).begin() == before


def test_what_cannot_be_used_changes_nothing(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker()
    choose(cell, "routing", "by_the_stars")
    cell.link.call("HSET", cell.keys.policy, "serial", "junk")
    cell.submit(job("j"))
    cell.until_ended("j")
    assert policy_of(cell, "routing") == "KvLocality"


def test_a_new_leader_knows_what_the_old_one_learnt(connect: Callable[[], Link]) -> None:
    cell = Cell(connect, Policies(hedging=PolicyChoice("percentile")))
    cell.scheduler()
    cell.worker(NoopEngine(100))
    cell.submit(*jobs(90))
    cell.until_ended(*(f"j{n}" for n in range(90)))
    settled(cell)
    old = cell.schedulers.pop()
    old.close()
    new = cell.scheduler()
    cell.until(lambda: new.leading, "a new leader")
    before, after = scheduler_of(old).memory.remember(), scheduler_of(new).memory.remember()
    assert before["predictor"] == after["predictor"]
    assert before["hedging"] == after["hedging"]
    assert before["fleet"][1]["per_cost"] == after["fleet"][1]["per_cost"]
    assert before["predictor"][1]["all"]


def test_junk_for_a_memory_is_no_memory(connect: Callable[[], Link]) -> None:
    predictor = BucketQuantile()
    parts = Memory({"predictor": predictor})
    for junk in ({"predictor": ["BucketQuantile", {"all": ["x"]}]}, {"predictor": 5}, {}):
        parts.recall(junk)
    assert Memory({"predictor": BucketQuantile()}).remember() == parts.remember()
    cell = Cell(connect)
    cell.link.call("SET", cell.keys.memory, b"\xff{")
    cell.scheduler()
    cell.worker()
    cell.submit(job("j"))
    cell.until_ended("j")


def test_a_canary_that_misses_is_rolled_back(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker(NoopEngine(1000))
    start(cell)
    cell.until(lambda: arms_of(scheduler_of(cell.schedulers[0])), "the canary to run")
    rollout = scheduler_of(cell.schedulers[0])._policies.rollout
    assert rollout is not None
    for _ in range(30):  # what its jobs would say if the candidate were bad
        rollout.observe("canary", True)
        rollout.observe("stable", False)
    cell.submit(*jobs(30))
    cell.until_ended(*(f"j{n}" for n in range(30)))
    document = PolicyStore(cell.link, cell.keys).read
    cell.until(lambda: document().verdict is not None, "a verdict")
    assert document().verdict.word == "rollback"  # type: ignore[union-attr]
    assert document().rollout is None
    assert "routing" not in document().overrides


def test_a_canary_that_proves_itself_gets_everything(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker(NoopEngine(1000))
    start(cell, ttft_s=60.0)
    cell.until(lambda: arms_of(scheduler_of(cell.schedulers[0])), "the canary to run")
    cell.submit(*jobs(200))
    cell.until_ended(*(f"j{n}" for n in range(200)))
    document = PolicyStore(cell.link, cell.keys).read
    cell.until(lambda: document().verdict is not None, "a verdict")
    verdict = document().verdict
    assert verdict is not None
    assert verdict.word == "promote"
    assert verdict.arms["canary"][0] >= 40
    assert verdict.arms["canary"][1] == 0
    cell.until(lambda: policy_of(cell, "routing") == "RoundRobin", "the leader to change")
    assert cell.outcome("j0") is Outcome.COMPLETED


def test_a_canary_goes_on_under_a_new_leader(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker(NoopEngine(1000))
    start(cell)
    cell.until(lambda: arms_of(scheduler_of(cell.schedulers[0])), "the canary to run")
    cell.submit(*jobs(20))
    cell.until_ended(*(f"j{n}" for n in range(20)))
    settled(cell)
    old = cell.schedulers.pop()
    judged = arms_of(scheduler_of(old))
    assert sum(jobs for jobs, _ in judged.values()) == 20
    old.close()
    new = cell.scheduler()
    cell.until(lambda: new.leading, "a new leader")
    assert arms_of(scheduler_of(new)) == judged


def test_the_memory_of_a_scheduler_is_bounded() -> None:
    scheduler = build_scheduler(Policies(hedging=PolicyChoice("percentile")), 0)
    predictor = scheduler._policies.predictor
    for n in range(5_000):
        predictor.learn(job_view(f"t{n}"), 10)
    assert len(scheduler.memory.remember()["predictor"][1]["buckets"]) <= 256


def job_view(tenant: str):  # type: ignore[no-untyped-def]
    from parallax.core.model import JobView

    return JobView("j", tenant, 10, 20, 0.0)
