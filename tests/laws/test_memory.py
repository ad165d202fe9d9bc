"""What is gone leaves nothing behind: memory follows what waits and flies, not what ever was."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from parallax.core.model import JobView
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import ADMISSION, ORDERING
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.events import (
    DispatchRefused,
    Event,
    JobArrived,
    JobWithdrawn,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.line import Line
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from tests.laws.histories import History, compositions
from tests.laws.rescues import Cell
from tests.laws.sizes import sizes

#: The most that any kind of container may hold of three tenants and four workers that are idle.
#: Heaps forget lazily: up to 64 places more than they need.
IDLE = 100
#: Kept for each of the workers that there are: places on a ring, and what its cache is thought to
#: hold, up to the cache's size.
BY_WORKER = {"ConsistentHash._places", "PrefixIndex._blocks", "PrefixIndex._holders"}
#: Nobody's time comes within a run.
FAR = 1e6
HEDGING = PolicyChoice("percentile", {"quantile": 0.5, "budget": 0.5, "min_samples": 5})


def composed() -> dict[str, Policies]:
    """Return compositions that hold every policy that keeps something."""
    named = {f"{p.routing.name}-{p.fairness.name}-{p.ordering.name}": p for p in compositions()}
    named |= {name: Policies(admission=PolicyChoice(name)) for name in ADMISSION}
    return named | {f"order-{name}": Policies(ordering=PolicyChoice(name)) for name in ORDERING}


def too_large(scheduler: Scheduler) -> dict[str, int]:
    """Return the containers of a scheduler that hold more than an idle one needs."""
    return {n: size for n, size in sizes(scheduler).items() if size > IDLE and n not in BY_WORKER}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("policies", composed().values(), ids=composed())
def test_a_long_history_leaves_nothing_behind(policies: Policies) -> None:
    history = History(build_scheduler(policies, 1), Random(1), deadlines=(inf, 3.0, FAR))
    history.play(500)
    history.drain()
    assert sum(history.gone.values()) > 400
    assert too_large(history.scheduler) == {}


@pytest.mark.dear
@pytest.mark.parametrize("pools", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rescues_leave_nothing_behind(pools: bool) -> None:
    stealing = PolicyChoice("longest_victim")
    routing = PolicyChoice("disaggregated" if pools else "power_of_two")
    policies = Policies(hedging=HEDGING, stealing=stealing, routing=routing)
    cell = Cell(build_scheduler(policies, 1), Random(1), pools)
    cell.play(1_500)
    assert len(cell.arrived) > 300
    assert too_large(cell.scheduler) == {}


@pytest.mark.interpreted("the control replaces a method of a compiled class")
def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "_compact", lambda _: None)
    history = History(build_scheduler(Policies(), 1), Random(1), deadlines=(FAR,))
    history.play(500)
    history.drain()
    assert set(too_large(history.scheduler)) == {"Line._deadlines"}


def job(number: int, deadline: float = inf) -> JobView:
    return JobView(f"a-job-with-a-long-name-{number}", "acme", 10, 10, 0.0, deadline=deadline)


@pytest.mark.dear
def test_a_deadline_goes_with_its_job() -> None:
    scheduler = build_scheduler(Policies(), 1)
    for start in range(0, 20_000, 100):
        some = [job(n, 30 * 86_400.0) for n in range(start, start + 100)]
        scheduler.handle([JobArrived(one, one.id) for one in some], 1.0)
        scheduler.handle([JobWithdrawn(one.id) for one in some], 1.0)
    assert sum(sizes(scheduler).values()) < IDLE
    kept = [job(n, 30 * 86_400.0) for n in range(100)]
    scheduler.handle([JobArrived(one, one.id) for one in kept], 1.0)
    for n in range(10_000):  # the same one comes and goes while others stay
        scheduler.handle([JobWithdrawn(kept[0].id)], 1.0)
        scheduler.handle([JobArrived(kept[0], f"e{n}")], 1.0)
    assert sizes(scheduler)["Line._deadlines"] <= 2 * len(kept) + 64
    expired = scheduler.handle([], 31 * 86_400.0)
    assert sorted(a.job_id for a in expired if hasattr(a, "job_id")) == sorted(j.id for j in kept)


@pytest.mark.dear
@pytest.mark.parametrize("requeue", [True, False])
def test_what_was_predicted_goes_with_its_attempt(requeue: bool) -> None:
    scheduler = build_scheduler(Policies(hedging=HEDGING), 1)
    base = 0
    for n in range(3_000):
        now = float(n)
        events: list[Event] = [WorkerReported("w1", 4), JobArrived(job(n), f"e{n}")]
        (sent,) = [a for a in scheduler.handle(events, now) if isinstance(a, Dispatch)]
        scheduler.handle([DispatchRefused(sent.job_id, "w1", requeue)], now)
        gone: Event = JobWithdrawn(sent.job_id) if requeue else WorkerLost("w1")
        scheduler.handle([gone], now)
        scheduler.next_wake()
        if n == 100:
            base = sum(sizes(scheduler).values())
    assert sum(sizes(scheduler).values()) <= base + 64
