"""Outcomes that are given away as they come are those that a run would have kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.outcome import JobOutcome
from parallax.sim.simulate import simulate
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec

LOAD = WorkloadSpec("chat", limit=300, rate_scale=4.0)
PLAIN = RunSpec(LOAD, FleetSpec(workers=3, straggler_share=0.05))
RUNS = {
    "plain": PLAIN,
    "hedged": replace(PLAIN, policies=Policies(hedging=PolicyChoice("percentile"))),
    "two pools": replace(
        PLAIN,
        fleet=replace(PLAIN.fleet, prefill_workers=1),
        policies=Policies(routing=PolicyChoice("disaggregated")),
    ),
    "faults": replace(
        PLAIN, faults=(FaultSpec("crash", "w0001", 2.0, 20.0), FaultSpec("slow", "w0002", 1.0, 9.0))
    ),
    "closed": replace(PLAIN, workload=replace(LOAD, closed=True)),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.sampled(1)
def test_they_are_the_same_and_none_is_left(name: str) -> None:
    kept: list[JobOutcome] = []
    whole, given = simulate(RUNS[name]), simulate(RUNS[name], keep=kept.append)
    assert given.jobs == []
    by_id = sorted(whole.jobs, key=lambda job: job.id)
    assert repr(sorted(kept, key=lambda job: job.id)) == repr(by_id)
    assert given.counters == whole.counters


def test_they_are_given_while_the_run_goes_on() -> None:
    kept: list[JobOutcome] = []
    simulate(PLAIN, keep=kept.append)
    assert [job.finished_s for job in kept] == sorted(job.finished_s for job in kept)
    assert len({job.arrival_s for job in kept}) > 1
