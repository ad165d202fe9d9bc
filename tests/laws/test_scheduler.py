"""Laws of the scheduler over random histories, for every composition, each with its control."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, WorkerView
from parallax.core.settings import Policies, PolicyChoice
from parallax.scheduling.actions import Action, Dispatch, SaveAccounts
from parallax.scheduling.events import AttemptEnded, Event, JobArrived, WorkerReported
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from tests.examples import examples
from tests.laws.histories import TENANTS, Flight, History, consumed, every_composition, history

ROOT = Path(__file__).parents[2]


@pytest.mark.sampled(5)
@every_composition
@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(15), deadline=None)
def test_conservation_late_binding_work_conservation_and_expiry(
    policies: Policies, seed: int
) -> None:
    history(policies, seed).play(60)


@pytest.mark.sampled(4)
@every_composition
def test_the_same_seed_and_events_give_the_same_actions(policies: Policies) -> None:
    runs = [history(policies, 11) for _ in range(2)]
    for run in runs:
        run.play(150)
    assert runs[0].actions == runs[1].actions
    assert any(isinstance(action, Dispatch) for action in runs[0].actions)


def test_another_seed_gives_other_actions() -> None:
    policies = Policies(routing=PolicyChoice("power_of_two"))
    runs = [history(policies, seed) for seed in (11, 12)]
    for run in runs:
        run.play(150)
    assert runs[0].actions != runs[1].actions


PLAY = """
from parallax.core.settings import Policies
from tests.laws.histories import history
run = history(Policies(), 5)
run.play(120)
print(run.actions)
"""


@pytest.mark.slow  # processes of their own
def test_hash_seeds_do_not_reach_the_actions() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", PLAY], cwd=ROOT, capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2", "77")
    }  # fmt: skip
    assert len(told) == 1


# -- controls: the referee sees each law broken ------------------------------------------------


class Forgetful(Scheduler):
    """Loses a dispatched job now and then."""

    def handle(self, events: list[Event], now: float) -> list[Action]:  # type: ignore[override]
        actions = super().handle(events, now)
        return [a for a in actions if not (isinstance(a, Dispatch) and a.job_id.endswith("7"))]


class Eager(Scheduler):
    """Sends everything to the first worker, whatever the gate says."""

    def handle(self, events: list[Event], now: float) -> list[Action]:  # type: ignore[override]
        actions = super().handle(events, now)
        workers = self.workers
        return [
            Dispatch(a.job_id, a.tenant, a.entry, workers[0], a.attempt, a.estimate)
            if isinstance(a, Dispatch) and workers else a
            for a in actions
        ]  # fmt: skip


class Lazy(Scheduler):
    """Hands out at most one job a turn, though there is room for more."""

    def _candidates(self, now: float, model: str = "") -> tuple[WorkerView, ...]:
        return tuple(replace(view, free=1) for view in super()._candidates(now, model)[:1])


class Patient(Scheduler):
    """Looks at deadlines an hour late."""

    def handle(self, events: list[Event], now: float) -> list[Action]:  # type: ignore[override]
        return super().handle(events, now - 3_600.0)


@pytest.mark.interpreted("the controls replace methods of a compiled class")
@pytest.mark.parametrize("broken", [Forgetful, Eager, Lazy, Patient])
def test_the_referee_notices_a_broken_scheduler(broken: type[Scheduler]) -> None:
    run = history(Policies(), 3)
    run.scheduler.__class__ = broken
    with pytest.raises((AssertionError, KeyError)):
        run.play(400)


# -- accounts ---------------------------------------------------------------------------------


def one_worker(slots: int = 4) -> tuple[Scheduler, dict[str, float]]:
    scheduler = build_scheduler(Policies(), 0)
    scheduler.handle([WorkerReported("w0", slots)], 1.0)
    return scheduler, {}


def saved(actions: list[Action], accounts: dict[str, float]) -> None:
    for action in actions:
        if isinstance(action, SaveAccounts):
            accounts.update(action.accounts)


def test_a_backlogged_tenants_account_moves_by_exactly_the_true_cost() -> None:
    scheduler, accounts = one_worker(slots=1)
    jobs = [JobView(f"j{n}", "a", 100, 400, 1.0) for n in range(8)]
    events: list[Event] = [JobArrived(job, f"e{n}") for n, job in enumerate(jobs)]
    actions = scheduler.handle(events, 1.0)
    saved(actions, accounts)
    in_flight = [a for a in actions if isinstance(a, Dispatch)]
    pending = sum(a.estimate for a in in_flight)
    assert accounts["a"] == pytest.approx(pending)
    referee = History(scheduler, Random(1))
    true = 0.0
    for _ in range(4):
        dispatch = in_flight.pop(0)
        job = next(j for j in jobs if j.id == dispatch.job_id)
        flight = Flight(job, "w0", 1, dispatch.estimate)
        event = referee.ended(flight, Outcome.COMPLETED)
        true += consumed(event)
        pending -= dispatch.estimate
        actions = scheduler.handle([event], 1.0)
        saved(actions, accounts)
        sent = [a for a in actions if isinstance(a, Dispatch)]
        pending += sum(a.estimate for a in sent)
        in_flight += sent
        assert accounts["a"] == pytest.approx(true + pending)


def test_an_end_nobody_waits_for_still_settles_the_account() -> None:
    """After a change of leader an attempt may end of which the new leader knows only the event."""
    scheduler, accounts = one_worker()
    scheduler.restore({"a": 500.0, "": 0.0})
    job = JobView("j0", "a", 100, 400, 1.0)
    event = History(scheduler, Random(1)).ended(Flight(job, "w9", 1, 300.0), Outcome.COMPLETED)
    assert isinstance(event, AttemptEnded)
    saved(scheduler.handle([event], 1.0), accounts)
    assert accounts["a"] == pytest.approx(500.0 - 300.0 + consumed(event))


def test_a_new_leader_serves_in_the_order_the_old_one_would_have() -> None:
    old, accounts = one_worker(slots=2)
    jobs = [JobView(f"j{n}", TENANTS[n % 3], 9_000 // (1 + n % 3), 300, 1.0) for n in range(30)]
    saved(old.handle([JobArrived(job, f"e{n}") for n, job in enumerate(jobs)], 1.0), accounts)
    new, forgetful = one_worker(slots=2)[0], one_worker(slots=2)[0]
    new.restore(accounts)
    rest = [job for job in jobs if job.id in old._line.queues.tenant_of]
    arrivals: list[Event] = [JobArrived(job, f"e{job.id}") for job in rest]
    picks = {}
    for name, scheduler in (("new", new), ("forgetful", forgetful)):
        actions = scheduler.handle(arrivals, 1.0)
        picks[name] = [a.job_id for a in actions if isinstance(a, Dispatch)]
    more: list[Event] = [WorkerReported("w1", 2)]
    picks["old"] = [a.job_id for a in old.handle(more, 1.0) if isinstance(a, Dispatch)]
    assert picks["new"] == picks["old"]
    assert picks["forgetful"] != picks["old"]
