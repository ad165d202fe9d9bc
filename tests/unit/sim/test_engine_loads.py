"""Loads for real engines: lengths that fit, texts that share what jobs share, a rate that fits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from parallax.core.model import Job
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.sim.calibration.loads import adapted, body_of, rate_for, scale_to, text_of
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec

JOBS = [(n / 10, Job(f"j{n}", "t", 400 + 100 * (n // 4), 100, f"s{n % 4}", 50)) for n in range(40)]
ENGINE = Profile("e", StepCost(4.0, 0.2, 1.0, 1.0, 0.0), 100_000, max_seqs=4)


def common(one: str, other: str) -> int:
    """Return how many words two texts begin with alike."""
    pairs = zip(one.split(), other.split(), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(map(len, (one, other))))


def test_the_longest_job_fits_and_short_ones_stay_as_they_are() -> None:
    scale = scale_to(500, JOBS)
    jobs = adapted(JOBS, scale, "x")
    assert 400 < max(job.prompt_tokens + job.max_tokens for _, job in jobs) <= 500
    assert scale_to(10_000, JOBS) == 1.0
    assert all(len(text_of(job).split()) == job.prompt_tokens - 1 for _, job in jobs)


def test_turns_of_a_session_begin_alike_and_others_do_not() -> None:
    jobs = [job for _, job in adapted(JOBS, 0.5, "x")]
    turn, next_turn, other = jobs[0], jobs[4], jobs[1]
    whole = turn.prompt_tokens // 16 * 16
    assert common(text_of(turn), text_of(next_turn)) >= whole - 1
    assert common(text_of(turn), text_of(other)) < 16
    again = [job for _, job in adapted(JOBS, 0.5, "y")]
    assert common(text_of(turn), text_of(again[0])) < 16, "another run finds nothing of this one"


def test_a_body_asks_for_what_the_job_may_have() -> None:
    job = adapted(JOBS, 0.5, "x")[0][1]
    body = json.loads(body_of(job, full_length=True))
    assert (body["max_tokens"], body["ignore_eos"]) == (25, True)
    assert "ignore_eos" not in json.loads(body_of(job, full_length=False))


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_the_rate_uses_about_that_much_of_the_engines(load: float) -> None:
    alone = [(at, replace(job, session="")) for at, job in JOBS]  # nothing is cached
    jobs = adapted(alone * 1, 1.0, "x")
    faster = rate_for(load, jobs, [ENGINE, ENGINE])
    spec = RunSpec(WorkloadSpec("given"), FleetSpec(2, "e", profiles=(ENGINE,)))
    run = simulate(spec, [(at / faster, job) for at, job in jobs])
    used = sum(run.worker_busy_s.values()) / 2 / (JOBS[-1][0] / faster)
    assert load / 2 < used < min(1.2, 2.5 * load), "batches are not full: steps are shared less"
