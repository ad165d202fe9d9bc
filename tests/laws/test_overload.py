"""Overload: what is done in time when more is asked for than can be served."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed

SERVERS = 8
DEADLINE_S = 5.0  # five mean services
SERVER = Profile(
    "server", StepCost(10.0, 0.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=1, token_budget=10_000_000
)
ADMISSION = {
    "none": PolicyChoice("unlimited"),
    "codel": PolicyChoice("codel", {"target_s": 0.25, "interval_s": 1.0}),
    "aimd_on_wait": PolicyChoice("aimd_on_wait", {"target_s": 0.25, "window": 25}),
    "thresholds": PolicyChoice("thresholds", {"max_jobs": 16}),
}


def offered(load: float, seconds: float = 300.0) -> list[Timed]:
    """Jobs of one second each in the mean; the deadline is known to the judge alone."""
    random, at, jobs = Random(6), 0.0, list[Timed]()
    while at < seconds:
        at += random.expovariate(SERVERS * load)
        steps = max(1, round(100 * random.expovariate(1.0)))
        jobs.append((at, Job(f"j{len(jobs)}", "a", steps, 4_096, output_tokens=steps)))
    return jobs


def goodput(admission: str, load: float) -> float:
    """The jobs done within the deadline, as a share of what the servers can do."""
    policies = Policies(
        admission=ADMISSION[admission],
        fairness=PolicyChoice("fifo"),
        ordering=PolicyChoice("fcfs"),
        gate=PolicyChoice("jbsq", {"prefetch": 0}),
    )
    spec = RunSpec(WorkloadSpec("x"), FleetSpec(SERVERS), replace(policies))
    run = simulate(spec, offered(load), profile=SERVER)
    good = [j for j in run.jobs if j.outcome == "completed" and j.finished_s <= j.arrival_s + 5.0]
    return len(good) / (SERVERS * 300.0)


@pytest.mark.slow
@pytest.mark.parametrize("admission", ["codel", "aimd_on_wait", "thresholds"])
def test_with_admission_control_overload_costs_little(admission: str) -> None:
    assert goodput(admission, 1.2) >= 0.90
    assert goodput(admission, 2.0) >= 0.90
    assert goodput(admission, 0.8) >= 0.95 * goodput("none", 0.8)


@pytest.mark.slow
def test_without_it_everything_is_late() -> None:
    assert goodput("none", 0.8) > 0.7
    assert goodput("none", 1.2) < 0.25
    assert goodput("none", 2.0) < 0.10
