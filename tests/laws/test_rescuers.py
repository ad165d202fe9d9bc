"""Hedging, stealing and batching where they act: in the scheduler and the engines, simulated."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace
from random import Random
from statistics import fmean

import numpy as np
import pytest

from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.sim.binding import EAGER
from parallax.sim.outcome import Run
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed

#: A server that does one job at a time, 10 ms for each token of its answer; prompts are free.
SERVER = Profile(
    "server", StepCost(10.0, 0.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=1, token_budget=10_000_000
)


def poisson(count: int, servers: int, load: float, seed: int) -> list[Timed]:
    """Jobs of exponential lengths, a second each in the mean, that load so many servers.

    The length of the prompt tells that of the answer, as far as a predictor can learn it.
    """
    random, at = Random(seed), 0.0
    jobs = []
    for n in range(count):
        at += random.expovariate(servers * load)
        jobs.append((at, job_of(n, random.expovariate(1.0))))
    return jobs


def job_of(number: int, seconds: float, session: str = "") -> Job:
    steps = max(1, round(seconds * 100))
    return Job(f"j{number}", "a", steps, 4_096, session, steps)


def run_of(jobs: list[Timed], servers: int, policies: Policies, **more: object) -> Run:
    fleet = FleetSpec(servers, **more)  # type: ignore[arg-type]
    run = simulate(RunSpec(WorkloadSpec("x"), fleet, policies), jobs, profile=SERVER)
    assert Counter(job.outcome for job in run.jobs) == {"completed": len(jobs)}
    return run


def mean_s(run: Run) -> float:
    """Mean response after the first fifth."""
    times = [job.e2e_s for job in run.jobs]
    return fmean(times[len(times) // 5 :])


def choose(routing: str, **more: PolicyChoice) -> Policies:
    return replace(EAGER, routing=PolicyChoice(routing), **more)


# -- queueing theory: the simulator itself ------------------------------------------------------


def central(jobs: list[Timed], servers: int) -> float:
    """The mean response of one queue before so many servers, by Lindley's recursion."""
    free, times = [0.0] * servers, []
    for at, job in jobs:
        start = max(at, heapq.heappop(free))
        end = start + (job.output_tokens or 0) / 100
        heapq.heappush(free, end)
        times.append(end - at)
    return fmean(times[len(times) // 5 :])


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (16, 0.9)])
def test_late_binding_is_the_central_queue_to_the_microsecond(servers: int, load: float) -> None:
    jobs = poisson(2_000, servers, load, 3)
    late = replace(choose("random"), gate=PolicyChoice("jbsq", {"prefetch": 0}))
    assert mean_s(run_of(jobs, servers, late)) == pytest.approx(central(jobs, servers), rel=1e-6)


@pytest.mark.dear
def test_binding_at_arrival_is_not() -> None:
    """The control: every server is a queue of its own."""
    jobs = poisson(3_000, 16, 0.9, 3)
    assert mean_s(run_of(jobs, 16, choose("random"))) > 3 * central(jobs, 16)


# -- stealing -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_stealing_closes_most_of_the_gap_to_the_central_queue() -> None:
    jobs = poisson(6_000, 16, 0.9, 5)
    alone = mean_s(run_of(jobs, 16, choose("random")))
    half = run_of(jobs, 16, choose("random", stealing=PolicyChoice("steal_half")))
    best = run_of(jobs, 16, choose("random", stealing=PolicyChoice("longest_victim")))
    assert mean_s(half) <= 0.35 * alone
    assert mean_s(best) <= 1.25 * central(jobs, 16)
    assert best.counters["steals"] > 100


@pytest.mark.dear
def test_a_bag_of_jobs_on_one_worker_is_spread_within_the_fork_join_bound() -> None:
    random = Random(4)
    seconds = [random.expovariate(1.0) for _ in range(400)]
    jobs = [
        (0.0, replace(job_of(n, length), prompt_tokens=100, prefix=(1,)))
        for n, length in enumerate(seconds)
    ]
    home = PolicyChoice("consistent_hash", {"bound": 1e6})  # one prefix, one worker

    def span(stealing: str) -> float:
        policies = replace(EAGER, routing=home, stealing=PolicyChoice(stealing))
        return run_of(jobs, 8, policies).duration_s

    bound = sum(seconds) / 8 + max(seconds) + 3 * 1.0  # log2(8) looks, a second apart at most
    assert span("longest_victim") <= bound
    assert span("steal_half") <= bound
    assert span("never") > 0.95 * sum(seconds)


# -- hedging ------------------------------------------------------------------------------------


def p99_s(run: Run) -> float:
    times = sorted(job.e2e_s for job in run.jobs[len(run.jobs) // 5 :])
    return times[int(0.99 * len(times))]


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_hedging_cuts_the_tail_of_stragglers_for_few_extra_attempts(load: float) -> None:
    jobs = poisson(4_000, 16, load, 7)
    slow = {"straggler_share": 0.02, "straggler_factor": 10.0}
    without = run_of(jobs, 16, choose("least_loaded"), **slow)
    hedged = run_of(jobs, 16, choose("least_loaded", hedging=PolicyChoice("percentile")), **slow)
    assert hedged.counters["hedges"] <= 0.06 * len(jobs)
    assert hedged.counters["hedges"] > 0.01 * len(jobs)
    assert p99_s(hedged) <= 0.65 * p99_s(without)  # which is a straggler and no wait
    ended = Counter(job.id for job in hedged.jobs)
    assert max(ended.values()) == 1, "a job has one end, however many attempts it had"


@pytest.mark.slow
def test_without_stragglers_hedging_gains_little_and_costs_little() -> None:
    """The control: nothing is wrong, so there is nothing to cure."""
    jobs = poisson(3_000, 16, 0.5, 7)
    without = run_of(jobs, 16, choose("least_loaded"))
    hedged = run_of(jobs, 16, choose("least_loaded", hedging=PolicyChoice("percentile")))
    assert p99_s(hedged) > 0.75 * p99_s(without)
    busy = [sum(run.worker_busy_s.values()) for run in (hedged, without)]
    assert busy[0] <= 1.10 * busy[1]


@pytest.mark.dear
def test_tied_attempts_end_once() -> None:
    jobs = poisson(1_500, 8, 0.5, 9)
    run = run_of(jobs, 8, choose("random", hedging=PolicyChoice("tied")))
    assert run.counters["hedges"] > 0
    assert run.counters["cancels"] == run.counters["hedges"]


# -- batching -----------------------------------------------------------------------------------


def batches(batching: PolicyChoice, count: int = 1_500) -> Run:
    """A saturated engine of 16 places whose steps cost the same whatever is in them."""
    profile = Profile("flat", StepCost(10.0, 0.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=16)
    draw = np.random.default_rng(3).exponential(100.0, count)
    jobs = [
        (0.0, Job(f"j{n}", "a", 1, 10_000, output_tokens=max(1, round(float(length)))))
        for n, length in enumerate(draw)
    ]
    policies = replace(choose("round_robin"), batching=batching)
    return simulate(RunSpec(WorkloadSpec("x"), FleetSpec(1), policies), jobs, profile=profile)


def efficiency(run: Run) -> float:
    """The share of places that did something: tokens over steps times places."""
    tokens = sum(job.output_tokens for job in run.jobs)
    return tokens / (16 * run.duration_s * 1_000 / 10.0)


@pytest.mark.dear
def test_a_static_batch_wastes_what_theory_says_and_a_continuous_one_nothing() -> None:
    harmonic = sum(1 / n for n in range(1, 17))
    assert efficiency(batches(PolicyChoice("static"))) == pytest.approx(1 / harmonic, rel=0.08)
    assert efficiency(batches(PolicyChoice("continuous"))) > 0.93


@pytest.mark.slow
def test_taking_all_that_waits_is_the_queue_with_dynamic_batching() -> None:
    """T(b) = b + 10 ms, load lambda * alpha = 0.5: the mean response is 31.67 ms."""
    profile = Profile("oneshot", StepCost(10.0, 1.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=100_000)
    random, at, jobs = Random(8), 0.0, list[Timed]()
    for n in range(20_000):
        at += random.expovariate(500.0)
        jobs.append((at, Job(f"j{n}", "a", 1, 1, output_tokens=1)))

    def mean_ms(batching: PolicyChoice) -> float:
        policies = replace(choose("round_robin"), batching=batching)
        spec = RunSpec(WorkloadSpec("x"), FleetSpec(1), policies)
        return 1_000 * mean_s(simulate(spec, jobs, profile=profile))

    at_once = PolicyChoice(
        "microbatch", {"window_s": 0.0, "join_running": False, "max_size": 9_999}
    )
    load, fixed = 0.5, 10.0
    theory = fixed + 1 + (0.5 + load) * (fixed / (1 - load) + load / (1 - load * load))
    assert mean_ms(at_once) == pytest.approx(theory, rel=0.04)
    window = PolicyChoice(
        "microbatch", {"window_s": 0.02, "join_running": False, "max_size": 9_999}
    )
    assert mean_ms(window) <= theory * 1.04 + 20.0
