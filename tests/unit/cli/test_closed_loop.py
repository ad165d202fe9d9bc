"""Closed loops: turns wait for each other, and overload is bounded by the open sessions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.closed import ClosedLoop
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.report.figures import figures
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from tests.unit.cli.invoking import Run as Cli

SESSIONS, TURNS = 20, 10


def turns(gap_s: float) -> list[Timed]:
    """Return sessions whose users think for so long, far shorter than an answer takes."""
    jobs = [
        (0.1 * s + gap_s * t, Job(f"j{s}-{t}", "a", 2_000, 400, f"s{s}", 300))
        for s in range(SESSIONS)
        for t in range(TURNS)
    ]
    return sorted(jobs, key=lambda timed: timed[0])


def played(closed: bool, policies: Policies | None = None) -> Run:
    spec = RunSpec(WorkloadSpec("x", closed=closed), FleetSpec(1), policies or Policies())
    return simulate(spec, turns(0.5))


def test_a_turn_comes_when_the_answer_is_there_and_its_user_has_thought() -> None:
    run = played(closed=True)
    sessions: defaultdict[str, list[JobOutcome]] = defaultdict(list)
    for job in run.jobs:
        sessions[job.session].append(job)
    assert len(run.jobs) == SESSIONS * TURNS
    for session in sessions.values():
        ordered = sorted(session, key=lambda job: job.arrival_s)
        for before, after in pairwise(ordered):
            assert after.arrival_s - before.finished_s >= 0.5 - 1e-9


@pytest.mark.dear
def test_what_waits_is_bounded_by_the_open_sessions_and_is_not_in_an_open_loop() -> None:
    def most(run: Run) -> int:
        moments = [(job.arrival_s, 1) for job in run.jobs] + [(j.finished_s, -1) for j in run.jobs]
        here, peak = 0, 0
        for _, change in sorted(moments):
            here += change
            peak = max(peak, here)
        return peak

    assert most(played(closed=True)) <= SESSIONS
    assert most(played(closed=False)) > 2 * SESSIONS


def test_a_refused_turn_does_not_end_its_session() -> None:
    strict = replace(Policies(), admission=PolicyChoice("thresholds", {"max_kv": 0.0}))
    run = played(closed=True, policies=strict)
    assert len(run.jobs) == SESSIONS * TURNS


def test_jobs_without_a_session_come_when_they_come() -> None:
    jobs = [(float(n), Job(f"j{n}", "a", 1, 1)) for n in range(5)]
    loop = ClosedLoop(jobs)
    assert loop.first == jobs
    assert loop.follow(JobOutcome("j0", "a", "", 0.0, 1)) == ()


@pytest.mark.dear
def test_the_command_has_it(run: Cli) -> None:
    words = ["simulate", "chat", "--limit", "300", "--rate-scale", "8", "--workers", "1", "--json"]
    closed, opened = run(*words, "--closed").document, run(*words).document
    assert closed["jobs_completed"] == opened["jobs_completed"] == 300
    assert closed["ttft_ms_p95"] < opened["ttft_ms_p95"]
    assert set(closed) <= set(figures(played(closed=True)))
