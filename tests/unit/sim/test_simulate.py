"""The simulator: nothing is lost, faults are survived, and the same seed gives the same run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import isnan
from random import Random

import pytest

from parallax.core.errors import InvalidSettings
from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.scheduling.scheduler import build_scheduler
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.report.figures import figures
from parallax.sim.simulate import simulate
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.world import World

Timed = tuple[float, Job]
NOWHERE = WorkloadSpec("made-up")


def jobs(count: int, rate: float = 10.0, seed: int = 1, **more: object) -> list[Timed]:
    random, at = Random(seed), 0.0
    made = []
    for n in range(count):
        at += random.expovariate(rate)
        prompt, output = random.randint(10, 1_500), random.randint(1, 200)
        session = f"s{random.randrange(20)}" if random.random() < 0.5 else ""
        tenant = random.choice("abc")
        job = Job(f"j{n}", tenant, prompt, 4_096, session, output, **more)  # type: ignore[arg-type]
        made.append((at, job))
    return made


def spec(**changes: object) -> RunSpec:
    base = RunSpec(NOWHERE, FleetSpec(4), Policies())
    return replace(base, **changes)  # type: ignore[arg-type]


def ends(run: Run) -> Counter[str]:
    return Counter(job.outcome for job in run.jobs)


def test_every_job_ends_once_with_what_it_asked_for() -> None:
    load = jobs(400)
    run = simulate(spec(), load)
    assert ends(run) == {"completed": 400}
    asked = {job.id: job.output_tokens for _, job in load}
    assert {job.id: job.output_tokens for job in run.jobs} == asked
    for job in run.jobs:
        assert job.arrival_s - 1e-9 <= job.dispatched_s < job.first_token_s <= job.finished_s


def test_an_idle_worker_is_known_to_be_idle() -> None:
    """What it reported last, while others still ran on it, must not stand for ever."""
    chosen = spec(fleet=FleetSpec(2), policies=Policies(routing=PolicyChoice("round_robin")))
    scheduler = build_scheduler(chosen.policies, chosen.seed)
    world = World(chosen, scheduler)
    world.play([(n / 10, Job(f"j{n}", "a", 4_000, 512, "", 200)) for n in range(20)]
               + [(60.0, Job("last", "a", 4_000, 512, "", 100))])  # fmt: skip
    told = scheduler.snapshot().kv_used
    assert set(told.values()) == {0.0}


@pytest.mark.dear
def test_the_same_spec_gives_the_same_run_and_another_seed_another() -> None:
    chosen = spec(policies=Policies(routing=PolicyChoice("power_of_two")))
    assert repr(simulate(chosen, jobs(200))) == repr(simulate(chosen, jobs(200)))
    other = replace(chosen, seed=1)
    assert simulate(chosen, jobs(200)).jobs != simulate(other, jobs(200)).jobs


@pytest.mark.dear
def test_single_steps_give_the_same_run() -> None:
    load = jobs(150)
    fast = simulate(spec(), load)
    slow = simulate(spec(fleet=FleetSpec(4, exact=True)), load)
    for one, other in zip(fast.jobs, slow.jobs, strict=True):
        assert one.ttft_s == pytest.approx(other.ttft_s, rel=1e-3)
        assert one.e2e_s == pytest.approx(other.e2e_s, rel=1e-3)


def test_a_crashed_workers_jobs_are_done_by_others_and_it_returns() -> None:
    load = jobs(400)
    crash = FaultSpec("crash", "w0001", 5.0, seconds=20.0, detect_s=1.0)
    run = simulate(spec(faults=(crash,)), load)
    assert ends(run) == {"completed": 400}
    assert run.counters["retries"] > 0
    assert any("back" in note for note in run.notes)
    assert max(job.attempts for job in run.jobs) == 2
    late = [job for job in run.jobs if job.worker == "w0001" and job.dispatched_s > 25.0]
    assert late, "it serves again"


@pytest.mark.dear
def test_a_job_that_has_used_up_its_attempts_is_dead_as_it_is_live() -> None:
    load = [(at, replace(job, max_attempts=1)) for at, job in jobs(400)]
    run = simulate(spec(faults=(FaultSpec("crash", "w0001", 5.0, seconds=20.0),)), load)
    assert set(ends(run)) == {"completed", "dead"}
    assert figures(run)["jobs_dead"] == ends(run)["dead"] > 0
    assert figures(run)["jobs_failed"] == 0


def test_with_no_worker_left_jobs_are_not_said_to_be_done() -> None:
    faults = tuple(FaultSpec("crash", f"w000{n}", 5.0) for n in range(4))
    run = simulate(spec(faults=faults), jobs(400))
    assert 0 < ends(run)["completed"] < 400
    assert ends(run)[""] > 0


@pytest.mark.dear
def test_a_slow_worker_gets_less_from_those_who_look() -> None:
    slow = FaultSpec("slow", "w0000", 0.0, factor=6.0)

    def share(routing: str) -> float:
        policies = Policies(routing=PolicyChoice(routing))
        run = simulate(spec(faults=(slow,), policies=policies), jobs(1_500, rate=8.0))
        assert ends(run)["completed"] == 1_500
        return sum(job.worker == "w0000" for job in run.jobs) / 1_500

    assert share("least_loaded") < 0.7 * share("round_robin")


def test_deadlines_that_cannot_be_met_end_the_job() -> None:
    run = simulate(spec(fleet=FleetSpec(1)), jobs(600, rate=60.0, deadline_s=3.0))
    assert ends(run)["expired"] + ends(run)["rejected"] > 50
    assert ends(run).total() == 600


def test_a_job_that_can_never_fit_fails_and_harms_nobody() -> None:
    load = [*jobs(20), (30.0, Job("huge", "a", 9_000_000, 100, output_tokens=5))]
    run = simulate(spec(), load)
    assert ends(run) == {"completed": 20, "failed": 1}


@pytest.mark.dear
def test_prompts_are_computed_by_one_pool_and_answers_by_the_other() -> None:
    chosen = Policies(routing=PolicyChoice("disaggregated"))
    run = simulate(spec(policies=chosen, fleet=FleetSpec(4, prefill_workers=2)), jobs(300))
    assert ends(run) == {"completed": 300}
    assert run.counters["handovers"] > 50
    assert {job.worker for job in run.jobs if job.output_tokens > 1} == {"w0002", "w0003"}


def test_other_policies_send_nothing_to_those_who_only_prefill() -> None:
    run = simulate(spec(fleet=FleetSpec(4, prefill_workers=2)), jobs(200))
    assert {job.worker for job in run.jobs} == {"w0002", "w0003"}


def test_the_next_turn_of_a_closed_loop_comes_after_the_one_before() -> None:
    def follow(outcome: JobOutcome) -> list[Timed]:
        turn = int(outcome.id.split("-")[1]) + 1
        if turn > 5:
            return []
        job = Job(f"t-{turn}", "a", 100 * turn, 400, "s", 50)
        return [(outcome.finished_s + 2.0, job)]

    local = Policies(routing=PolicyChoice("kv_locality"))
    run = simulate(spec(policies=local), [(0.0, Job("t-1", "a", 100, 400, "s", 50))], follow)
    assert ends(run) == {"completed": 5}
    for one, other in zip(run.jobs, run.jobs[1:], strict=False):
        assert other.arrival_s == pytest.approx(one.finished_s + 2.0)
        assert other.cached_tokens > 0


def test_jobs_that_are_decided_in_batches_wait_for_the_tick() -> None:
    run = simulate(spec(tick_s=0.5), jobs(100))
    ticks = [job.dispatched_s / 0.5 for job in run.jobs]
    assert ticks == pytest.approx([round(tick) for tick in ticks])
    assert not any(isnan(job.finished_s) for job in run.jobs)


def test_an_unknown_worker_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="w0099"):
        simulate(spec(faults=(FaultSpec("crash", "w0099", 1.0),)), [])
