"""Shortest first: what knowing lengths is worth, how well they must be known, and overload."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from random import Random

import numpy as np

from parallax.core.settings import Policies, PolicyChoice
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
from parallax.sim.experiments.servers import STEP_S, Numbers, figures, job, offered, run
from parallax.sim.report.svg import Series
from parallax.sim.timed import Timed

#: Steps per second of predicted length in the prompt: it outweighs the predicted answer.
FINE = 1_000.0
#: Ages so slowly that it makes no difference: pure shortest first.
PURE = {"ageing_s": 1e6}
ORDERS = {
    "first come": PolicyChoice("fcfs", {"drop_hopeless": False}),
    "shortest first": PolicyChoice("sjf", {**PURE, "drop_hopeless": False}),
    "deadline": PolicyChoice("edf", {"drop_hopeless": False}),
    "shortest first, dropping": PolicyChoice("sjf", PURE),
    "deadline, dropping": PolicyChoice("edf"),
    "slack, dropping": PolicyChoice("least_slack"),
}
MIXES = ((1.0, 0.7), (1.0, 0.9), (2.0, 0.9))  # coefficient of variation, load
#: How far a mean may be from the formula: long queues need many jobs to settle.
BOUNDS = {0.7: (0.97, 1.03), 0.9: (0.93, 1.07)}
NOISES = (0.0, 0.5, 1.0, 2.0)
LOADS = (0.8, 1.0, 1.2, 1.5)
JOBS, SLO_JOBS, SERVERS = 50_000, 12_000, 8
URGENT, PATIENT, SHARE = 3.0, 30.0, 0.7  # seconds until the deadline; share of the urgent


def measure(case: Case, seed: int) -> Figures:
    """Serve one queue in some order; or a fleet whose jobs have deadlines."""
    if case[0] == "slo":
        return _slo(str(case[1]), float(case[2]), seed)
    _, order, cv, load, noise = case
    jobs = _jobs(JOBS, float(load), seed, float(cv), float(noise))
    done = run(jobs, 1, replace(LATE, ordering=ORDERS[str(order)]), seed)
    lengths = np.array([(one.output_tokens or 0) * STEP_S for _, one in jobs])
    fcfs, sjf = pollaczek_khinchine(lengths, float(load)), phipps(lengths, float(load))
    return {**figures(done), "pk_s": fcfs, "phipps_s": sjf}


def _jobs(count: int, rate: float, seed: int, cv: float, noise: float) -> list[Timed]:
    random = Random(f"{seed}/h4/{noise}")
    return [
        (at, job(n, s, FINE * s * STEP_S * exp(noise * random.gauss(0.0, 1.0)) + STEP_S))
        for n, (at, s) in enumerate(offered(count, rate, seed, cv))
    ]


def pollaczek_khinchine(lengths: Numbers, load: float) -> float:
    """Return the mean response of first come first served: 1 + load E[S^2] / (2 (1 - load))."""
    return float(1 + load * np.mean(lengths**2) / (2 * (1 - load)))


def phipps(lengths: Numbers, load: float) -> float:
    """Return that of shortest first: the mean of 1 + load E[S^2] / (2 (1 - load below x)^2)."""
    ordered = np.sort(lengths)
    below = load * (np.cumsum(ordered) - ordered / 2) / len(ordered)
    return float(1 + np.mean(load * np.mean(lengths**2) / 2 / (1 - below) ** 2))


def _slo(order: str, load: float, seed: int) -> Figures:
    random = Random(f"{seed}/h4/slo")
    jobs: list[Timed] = []
    possible = 0
    for at, one in _jobs(SLO_JOBS, SERVERS * load, seed, 2.0, 0.5):
        due = URGENT if random.random() < SHARE else PATIENT
        possible += (one.output_tokens or 0) * STEP_S <= due
        jobs.append((at, replace(one, deadline_s=due)))
    done = run(jobs, SERVERS, _policies(order), seed)
    met = sum(one.outcome == "completed" and one.finished_s <= one.deadline_s for one in done.jobs)
    return {"met": met / possible}


def _policies(order: str) -> Policies:
    return replace(LATE, ordering=ORDERS[order])


def judge(measured: Measured) -> Verdict:
    """Hold the means against formulas, and look for the cliff."""

    def mean(order: str, cv: float, load: float, noise: float = 0.0, of: str = "mean_s") -> float:
        return measured.mean("queue", order, cv, load, noise, of=of)

    def gain(noise: float) -> float:
        first = mean("first come", 1.0, 0.9)
        best = mean("shortest first", 1.0, 0.9)
        return (first - mean("shortest first", 1.0, 0.9, noise)) / (first - best)

    def met(order: str, load: float) -> float:
        return measured.mean("slo", order, load, of="met")

    findings = []
    for order, of in (("first come", "pk_s"), ("shortest first", "phipps_s")):
        findings += [
            Finding(f"{order}, variation {cv:g}, load {load:g}: mean over the formula's",
                    mean(order, cv, load) / mean(order, cv, load, of=of), *BOUNDS[load])
            for cv, load in MIXES
        ]  # fmt: skip
    findings += [
        Finding("share of the gain that is left at an error of 0.5", gain(0.5), low=0.85),
        Finding("at an error of 2", gain(2.0), low=0.35, high=0.75),
        Finding("first come: deadlines met at load 1.2", met("first come", 1.2), high=0.7),
        Finding("deadline order: deadlines met at load 1.2", met("deadline", 1.2), high=0.6),
        Finding("deadline order, dropping the hopeless, load 1.2", met("deadline, dropping", 1.2),
                low=0.9),
        Finding("the same, load 1.5", met("deadline, dropping", 1.5), low=0.9),
    ]  # fmt: skip
    lines = [Series(order, [(load, met(order, load)) for load in LOADS]) for order in ORDERS]
    charts = [
        Chart("Deadlines met, 8 servers", "load", "share of those that can be met", lines),
        Chart("What a prediction may be wrong by", "error of the prediction (sigma of its log)",
              "share of the gain that is left",
              [Series("shortest first", [(noise, gain(noise)) for noise in NOISES])]),
    ]  # fmt: skip
    head = ("order", *(f"variation {cv:g}, load {load:g}" for cv, load in MIXES))
    rows: list[tuple[str | float, ...]] = []
    for order, of in (("first come", "pk_s"), ("shortest first", "phipps_s")):
        rows.append((order, *(mean(order, *mix) for mix in MIXES)))
        rows.append((f"{order}, formula", *(mean(order, *mix, of=of) for mix in MIXES)))
    return Verdict(findings, charts, [Table("Mean response, one server", head, rows)])


EXPERIMENT = Experiment(
    "h4",
    "Shortest first, prediction error and overload",
    question="""
What is it worth to serve short jobs first, how well must lengths be known for it, and what do
orders that know deadlines do when more is asked for than can be done?
""",
    setup=f"""
One server with exponential jobs (variation 1) and lognormal ones (variation 2); the predicted
length is the true one times a lognormal error. Then {SERVERS} servers and deadlines: {SHARE:.0%} of
the jobs are due {URGENT:g} services after they came, the others {PATIENT:g}; predictions have an
error of 0.5. What is counted is the share of deadlines met, of those that an idle fleet could meet.
A job whose deadline passes while it waits is dropped in any order; *dropping* takes those, too,
that cannot be done in time any more. {JOBS:,} and {SLO_JOBS:,} jobs a seed.
""",
    theory="""
First come first served: `1 + load E[S^2] / (2 (1 - load))` (Pollaczek & Khinchine). Shortest first
puts `(1 - load of the shorter ones)^2` in the place of `1 - load`, job by job (Phipps 1956). Rough
predictions keep most of that (Mitzenmacher 2020): to tell short from long is enough. Deadline
order is best while all deadlines can be met, and worst when they cannot: it serves the job that is
about to be late, and makes the next one late with it (Locke 1986).
""",
    practice="""
`sjf` needs no good predictor, the median of similar jobs will do. Whatever the order, drop what is
hopeless: all ordering policies here do unless they are told not to. With that, `edf` loses little
to overload; without it, it wastes the fleet on answers that nobody waits for any more.
""",
    cases=(
        *(
            ("queue", order, cv, load, 0.0)
            for order in ("first come", "shortest first")
            for cv, load in MIXES
        ),
        *(("queue", "shortest first", 1.0, 0.9, noise) for noise in NOISES[1:]),
        *(("slo", order, load) for order in ORDERS for load in LOADS),
    ),
    measure=measure,
    judge=judge,
    seeds=4,
)
