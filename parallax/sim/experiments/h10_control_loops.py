"""Control loops: how many workers, and whether the new version is good."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from math import ceil, pi, sin, sqrt
from random import Random

from parallax.core.model import LoadView
from parallax.core.settings import PolicyChoice
from parallax.policies.registry import SCALING
from parallax.policies.rollout.canary import CANARY, STABLE, Canary
from parallax.sim.binding import LATE
from parallax.sim.experiments.experiment import (
    Case,
    Chart,
    Experiment,
    Figures,
    Finding,
    Measured,
    Table,
    Verdict,
)
from parallax.sim.experiments.servers import job, poisson, run
from parallax.sim.outcome import Run
from parallax.sim.report.svg import Series
from parallax.sim.spec import FleetSpec
from parallax.sim.timed import Timed

#: Offered load in workers: a wave, and a step of half as much in the middle of it.
ERLANGS, SWING, PERIOD_S, LENGTH_S = 12.0, 0.5, 1_800.0, 3_600.0
STEP = (2_000.0, 2_300.0, 1.5)
STARTUP_S, LATE_S = 30.0, 1.0
SCALING_BY = {
    "proportional, as it comes": PolicyChoice("hpa", {"stable_s": 0.0, "tolerance": 0.0}),
    "Kubernetes' rules": PolicyChoice("hpa"),
    "square root": PolicyChoice("sqrt_staffing"),
}
BETAS, FLEETS = (0.5, 1.0, 1.5, 2.0), (16, 64)
#: P(wait) by beta in the limit of large fleets (Halfin & Whitt 1981).
LIMIT = {0.5: 0.505, 1.0: 0.223, 1.5: 0.085, 2.0: 0.027}
ROLLOUTS, LOOK_EVERY, LONGEST = 150, 50, 10_000
BASE_RATE = 0.05  # of jobs that miss their objective
CANDIDATES = (0.05, 0.06, 0.07, 0.10)
CERTAIN = 1.96  # of a plain test, 95 %


def measure(case: Case, seed: int) -> Figures:
    """Scale a fleet, staff one for a given load, or roll out versions."""
    kind, name, number = case
    if kind == "scaling":
        return _scaled(str(name), seed)
    if kind == "staffing":
        return _staffed(float(name), int(number), seed)
    return _rolled_out(float(number), seed)


def _scaled(name: str, seed: int) -> Figures:
    fleet = FleetSpec(startup_s=STARTUP_S)
    policies = replace(LATE, scaling=SCALING_BY[name])
    done = run(_wave(seed), ceil(ERLANGS), policies, seed, fleet=fleet)
    late = sum(one.dispatched_s - one.arrival_s > LATE_S for one in done.jobs)
    hours = sum(sample.workers for sample in done.samples) / len(done.samples)
    return {
        "flips": _flips(done),
        "worker_hours": hours * done.duration_s / 3600,
        "late": late / len(done.jobs),
    }


def _wave(seed: int) -> list[Timed]:
    """Return jobs of one second each in the mean, thinned to the rate of the moment."""
    random, at, jobs = Random(f"{seed}/h10"), 0.0, list[Timed]()
    most = ERLANGS * (1 + SWING) * STEP[2]
    while at < LENGTH_S:
        at += random.expovariate(most)
        rate = ERLANGS * (1 + SWING * sin(2 * pi * at / PERIOD_S))
        rate *= STEP[2] if STEP[0] <= at < STEP[1] else 1.0
        if random.random() * most < rate:
            jobs.append((at, job(len(jobs), random.expovariate(1.0))))
    return jobs


def _flips(done: Run) -> int:
    """Return how often the wish changed its direction."""
    found = (re.search(r"(\d+) workers, (\d+) wanted", note) for note in done.notes)
    ups = [int(match[2]) > int(match[1]) for match in found if match]
    return sum(one != other for one, other in pairwise(ups))


def _staffed(beta: float, erlangs: int, seed: int) -> Figures:
    """Ask the policy how many workers that load needs, and measure who waits there."""
    policy = SCALING.build("sqrt_staffing", {"beta": beta, "tolerance": 0.0})
    wanted = policy.desired(LoadView(erlangs, erlangs, 0.0, erlangs, erlangs, 1.0), 0.0)
    jobs = poisson(400 * erlangs, erlangs, seed)
    done = run(jobs, wanted, LATE, seed)
    settled = done.jobs[len(jobs) // 5 :]
    waiting = sum(one.dispatched_s - one.arrival_s > 1e-6 for one in settled)
    return {"workers": wanted, "waiting": waiting / len(settled)}


def _rolled_out(candidate: float, seed: int) -> Figures:
    """Return how often the sequential test and a plain one, looked at as often, roll back."""
    random = Random(f"{seed}/h10/{candidate}")
    rolled, naive, decided = 0, 0, list[int]()
    for _ in range(ROLLOUTS):
        test = Canary()
        misses = {CANARY: 0, STABLE: 0}
        verdict, alarmed, jobs = "undecided", False, 0
        while jobs < LONGEST and (verdict == "undecided" or not alarmed):
            for _ in range(LOOK_EVERY):
                for arm, rate in ((CANARY, candidate), (STABLE, BASE_RATE)):
                    missed = random.random() < rate
                    misses[arm] += missed
                    test.observe(arm, missed)
            jobs += LOOK_EVERY
            alarmed |= _plain_test(misses[CANARY], misses[STABLE], jobs)
            if verdict == "undecided":
                verdict = test.verdict()
                if verdict != "undecided":
                    decided.append(jobs)
        rolled += verdict == "rollback"
        naive += alarmed
    mean = sum(decided) / max(1, len(decided))
    return {"rolled_back": rolled / ROLLOUTS, "naive": naive / ROLLOUTS, "jobs": mean}


def _plain_test(one: int, other: int, jobs: int) -> bool:
    """Whether a z-test that is looked at once would call the candidate worse or better."""
    pooled = (one + other) / (2 * jobs)
    spread = sqrt(2 * pooled * (1 - pooled) / jobs)
    return spread > 0 and abs(one - other) / jobs > CERTAIN * spread


def judge(measured: Measured) -> Verdict:
    """Count flips, hold waiting against Erlang's limit, and false alarms against their promise."""

    def scaled(name: str, of: str) -> float:
        return measured.mean("scaling", name, 0, of=of)

    def rolled(candidate: float, of: str) -> float:
        return measured.mean("rollout", "", candidate, of=of)

    hasty, rules, root = SCALING_BY
    findings = [
        Finding("changes of direction in an hour, square root", scaled(root, "flips"), high=10.0),
        Finding("the same, proportional", scaled(hasty, "flips"), low=20.0),
        Finding("jobs that wait over a second, square root over Kubernetes' rules",
                scaled(root, "late") / scaled(rules, "late"), high=1.0),
        Finding("worker hours, square root over Kubernetes' rules",
                scaled(root, "worker_hours") / scaled(rules, "worker_hours"), high=1.1),
        *(Finding(f"beta {beta:g}, a load of 64 workers: share that waits, less the limit's",
                  measured.mean("staffing", beta, 64, of="waiting") - LIMIT[beta], -0.08, 0.05)
          for beta in BETAS),
        Finding("same version: rolled back", rolled(0.05, "rolled_back"), high=0.05),
        Finding("same version: called different by a plain test", rolled(0.05, "naive"), low=0.2),
        Finding("misses 7 % instead of 5 %: rolled back", rolled(0.07, "rolled_back"), low=0.9),
        Finding("misses 10 %: jobs of each version until that is known", rolled(0.10, "jobs"),
                high=1_500.0),
    ]  # fmt: skip
    chart = Chart("Who waits, by the margin over the load", "beta", "share of jobs that wait", [
        *(Series(f"load of {n} workers", [
            (beta, measured.mean("staffing", beta, n, of="waiting")) for beta in BETAS
        ]) for n in FLEETS),
        Series("limit", list(LIMIT.items())),
    ])  # fmt: skip
    tables = [
        Table("An hour of waves", ("scaling", "changes of direction", "worker hours", "late"),
              [(name, *(scaled(name, of) for of in ("flips", "worker_hours", "late")))
               for name in SCALING_BY]),
        Table("Rollouts", ("misses of the new", "rolled back", "plain test", "jobs until known"),
              [(f"{rate:.0%}", *(rolled(rate, of) for of in ("rolled_back", "naive", "jobs")))
               for rate in CANDIDATES]),
    ]  # fmt: skip
    return Verdict(findings, [chart], tables)


EXPERIMENT = Experiment(
    "h10",
    "Control loops",
    question="""
How many workers does a load need, and how to follow it without swinging? How to watch a new version
all the time without being fooled by chance?
""",
    setup=f"""
Scaling: jobs of one second, a load of {ERLANGS:g} workers that swings by {SWING:.0%} every
{PERIOD_S / 60:g} minutes, with a step of half as much for five minutes; decisions every 15 s,
workers start in {STARTUP_S:g} s; late is who waits over {LATE_S:g} s. Staffing: `sqrt_staffing` is
asked how many workers a load of 16 or 64 needs, and a fleet of that size is measured. Rollouts:
two versions, the old one misses its objective in {BASE_RATE:.0%} of the jobs; both tests are
looked at every {LOOK_EVERY} jobs, up to {LONGEST:,}; {ROLLOUTS} rollouts a seed.
""",
    theory="""
With `R + beta sqrt(R)` workers for a load of R, the share of jobs that wait depends on beta and not
on R (Halfin & Whitt 1981): large fleets need a smaller part as a margin. A loop with a delay swings
if it follows every wish; it has to count what is starting, go down late, and go up in steps. A test
at 95 % that is looked at again and again is sooner or later wrong; a mixture sequential ratio test
may be looked at always and is wrong in 5 % of all rollouts at most (Robbins 1970; Johari et al.
2017).
""",
    practice="""
Scale by offered load, refused jobs included, and not by utilisation, which ends at 1; keep the
window for going down at several start-up times. Let `canary` decide: it rolls back as soon as it is
certain, and waits as long as it is not.
""",
    cases=(
        *(("scaling", name, 0) for name in SCALING_BY),
        *(("staffing", beta, n) for beta in BETAS for n in FLEETS),
        *(("rollout", "", rate) for rate in CANDIDATES),
    ),
    measure=measure,
    judge=judge,
    seeds=3,
)
