"""A scheduler that is given up is freed at once, not when the collector comes round."""

from __future__ import annotations

import gc
import weakref

import pytest

from parallax.core.model import JobView
from parallax.core.settings import Policies, PolicyChoice
from parallax.scheduling.events import JobArrived, WorkerReported
from parallax.scheduling.scheduler import Scheduler, build_scheduler


def used(scheduler: Scheduler) -> Scheduler:
    """Let a scheduler know workers, jobs that wait, and jobs in flight."""
    events = [JobArrived(JobView(f"j{n}", "acme", 10, 10, 0.0), f"{n}-0") for n in range(100)]
    scheduler.handle([WorkerReported("w1", 4), *events], 1.0)
    return scheduler


@pytest.mark.interpreted("nothing can refer weakly to a compiled object")
def test_nothing_keeps_a_scheduler_that_is_given_up() -> None:
    policies = Policies(hedging=PolicyChoice("percentile"), stealing=PolicyChoice("steal_half"))
    gc.collect()
    gc.disable()
    try:
        scheduler = used(build_scheduler(policies, 0))
        gone = weakref.ref(scheduler)
        del scheduler
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.dear
@pytest.mark.interpreted("nothing can refer weakly to a compiled object")
def test_the_control_is_one_that_holds_itself() -> None:
    gc.collect()
    gc.disable()
    try:
        scheduler = used(build_scheduler(Policies(), 0))
        scheduler.handle = scheduler.handle  # type: ignore[method-assign]
        gone = weakref.ref(scheduler)
        del scheduler
        assert gone() is not None
    finally:
        gc.enable()
        gc.collect()
