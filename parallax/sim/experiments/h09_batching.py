"""Batching: what it gains, what waiting for it costs, and keeping prompts out of the way."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from parallax.core.model import Job
from parallax.core.settings import PolicyChoice
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.sim.binding import EAGER, routed
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
from parallax.sim.experiments.servers import arrivals, responses
from parallax.sim.outcome import Run
from parallax.sim.report.figures import figures
from parallax.sim.report.svg import Series
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed

#: A batch of b jobs takes b + 10 ms, whatever is in it.
FIXED_MS = 10.0
ONE_SHOT = Profile("one-shot", StepCost(FIXED_MS, 1.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=100_000)
#: A step takes 10 ms, whatever is in it.
PLACES = 16
FLAT = Profile("flat", StepCost(10.0, 0.0, 0.0, 0.0, 0.0), 10_000_000, max_seqs=PLACES)
#: A small model on a small card.
SMALL = Profile("small", StepCost(5.0, 0.05, 0.05, 0.0, 0.0), 1_000_000, max_seqs=256)
LOADS = (0.3, 0.5, 0.7)
WINDOWS_MS = (0.0, 5.0, 20.0)
LOW = 0.05
RATES = (4.0, 8.0, 12.0, 16.0)
PROMPT, ANSWER = 1_000, 150  # tokens in the mean
POOLS = "two pools"
KINDS = {
    "whole prompts": 1_000_000, "chunks of 512": 512, "chunks of 128": 128,
    POOLS: 1_000_000, f"{POOLS}, local if that is sooner": 1_000_000,
}  # fmt: skip


def measure(case: Case, seed: int) -> Figures:
    """Batch one-shot jobs, run batches to their end, or cut prompts in different ways."""
    kind, name, number = case
    if kind == "one-shot":
        return _one_shot(float(number), float(name), seed)
    if kind == "static":
        return _saturated(str(name), seed)
    return _prompts(str(name), float(number), seed)


def _one_shot(load: float, window_ms: float, seed: int) -> Figures:
    """Return the mean response of jobs that a worker takes all at once, after a window."""
    draw = np.random.default_rng((seed, round(1000 * load)))
    count = 40_000 if load >= 0.3 else 8_000
    jobs = [
        (at, Job(f"j{n}", "a", 1, 1, output_tokens=1))
        for n, at in enumerate(arrivals(count, 1000 * load, draw).tolist())
    ]
    window = {"window_s": window_ms / 1000, "join_running": False, "max_size": 9_999}
    done = _simulated(jobs, PolicyChoice("microbatch", window), ONE_SHOT, seed)
    times = responses(done)
    busy = sum(done.worker_busy_s.values()) / done.duration_s
    return {"mean_ms": 1000 * sum(times) / len(times), "busy": busy}


def formula(load: float) -> float:
    """Return the mean response in ms if a free worker takes all that waits (never idle).

    Derived from T(b) = b + FIXED_MS: half a batch's wait, and a batch whose size follows the load.
    """
    return FIXED_MS + 1 + (0.5 + load) * (FIXED_MS / (1 - load) + load / (1 - load * load))


def _saturated(batching: str, seed: int) -> Figures:
    """Return the share of places that do something while more waits than fits."""
    lengths = np.random.default_rng(seed).exponential(100.0, 3_000)
    jobs = [
        (0.0, Job(f"j{n}", "a", 1, 10_000, output_tokens=max(1, round(float(length)))))
        for n, length in enumerate(lengths)
    ]
    done = _simulated(jobs, PolicyChoice(batching), FLAT, seed)
    tokens = sum(one.output_tokens for one in done.jobs)
    return {"efficiency": tokens / (PLACES * done.duration_s * 1000 / 10.0)}


def _prompts(kind: str, rate: float, seed: int) -> Figures:
    """Serve prompts and answers on two workers, together or in two pools."""
    random = Random(f"{seed}/h9")
    draw = np.random.default_rng((seed, round(rate)))
    jobs = [
        (at, Job(
            f"j{n}", "a", 1 + round(random.expovariate(1 / PROMPT)), 2_000,
            output_tokens=min(2_000, 1 + round(random.expovariate(1 / ANSWER))),
        ))
        for n, at in enumerate(arrivals(4_000, rate, draw).tolist())
    ]  # fmt: skip
    apart = kind.startswith(POOLS)
    strict = 1e9 if kind == POOLS else 1.0
    policies = (
        routed("disaggregated", EAGER, min_tokens=0.0, disturbance=strict)
        if apart
        else routed("least_loaded")
    )
    spec = RunSpec(WorkloadSpec("x"), FleetSpec(2, prefill_workers=int(apart)), policies, seed=seed)
    profile = replace(SMALL, token_budget=KINDS[kind])
    found = figures(simulate(spec, jobs, profile=profile))
    return {name: float(found[name] or 0.0) for name in ("ttft_ms_p99", "tpot_ms_p99")}


def _simulated(jobs: list[Timed], batching: PolicyChoice, profile: Profile, seed: int) -> Run:
    policies = replace(routed("round_robin"), batching=batching)
    spec = RunSpec(WorkloadSpec("x"), FleetSpec(1), policies, seed=seed)
    return simulate(spec, jobs, profile=profile)


def judge(measured: Measured) -> Verdict:
    """Check the formulas, and which way of cutting prompts is good for what."""

    def shot(load: float, window: float = 0.0, of: str = "mean_ms") -> float:
        return measured.mean("one-shot", window, load, of=of)

    def prompts(kind: str, rate: float, of: str) -> float:
        return measured.mean("prompts", kind, rate, of=of)

    def saturated(batching: str) -> float:
        return measured.mean("static", batching, 0.0, of="efficiency")

    harmonic = sum(1 / n for n in range(1, PLACES + 1))
    first, last = RATES[0], RATES[-1]
    whole = "whole prompts"
    findings = [
        *(Finding(f"taking all that waits, load {load:g}: mean over the formula's",
                  shot(load) / formula(load), 0.97, 1.03) for load in LOADS),
        Finding("a window of 5 ms at load 0.5: mean over that without",
                shot(0.5, 5.0) / shot(0.5), 0.97, 1.03),
        Finding("a window of 20 ms at load 0.05: ms more than without",
                shot(LOW, 20.0) - shot(LOW), 5.0, 20.0),
        Finding("the time it is busy, over that without", shot(LOW, 20.0, "busy")
                / shot(LOW, 0.0, "busy"), high=0.75),
        Finding("run to completion: efficiency times the harmonic number",
                saturated("static") * harmonic, 0.93, 1.07),
        Finding("continuous: efficiency", saturated("continuous"), low=0.95),
        Finding(f"two pools: p99 TPOT at {last:g} jobs/s over {first:g}",
                prompts(POOLS, last, "tpot_ms_p99") / prompts(POOLS, first, "tpot_ms_p99"),
                high=1.3),
        Finding("whole prompts: the same",
                prompts(whole, last, "tpot_ms_p99") / prompts(whole, first, "tpot_ms_p99"),
                low=1.5),
        Finding(f"{last:g} jobs/s: p99 TTFT of two pools over whole prompts",
                prompts(POOLS, last, "ttft_ms_p99") / prompts(whole, last, "ttft_ms_p99"),
                low=1.5),
        Finding(f"{last:g} jobs/s: p99 TPOT of chunks of 128 over whole prompts",
                prompts("chunks of 128", last, "tpot_ms_p99")
                / prompts(whole, last, "tpot_ms_p99"), high=0.9),
    ]  # fmt: skip
    charts = [
        Chart(f"{title}, two workers", "jobs per second", "ms", [
            Series(kind, [(rate, prompts(kind, rate, of)) for rate in RATES]) for kind in KINDS
        ])
        for title, of in (("p99 TPOT", "tpot_ms_p99"), ("p99 TTFT", "ttft_ms_p99"))
    ]  # fmt: skip
    windows = Table(
        "Mean response in ms, and share of the time busy",
        ("load", *(f"window {window:g} ms" for window in WINDOWS_MS), "formula"),
        [
            (f"{load:g}",
             *(f"{shot(load, w):.3g}, {shot(load, w, 'busy'):.2f}" for w in WINDOWS_MS),
             formula(load) if load >= LOADS[0] else "")
            for load in (LOW, *LOADS)
        ],
    )  # fmt: skip
    return Verdict(findings, charts, [windows])


EXPERIMENT = Experiment(
    "h9",
    "Batching, and prompts out of the way",
    question="""
When is it worth to wait for a fuller batch? What does running batches to their end waste? And what
is the best way to keep long prompts from stopping everybody's answers?
""",
    setup=f"""
One-shot jobs of which a batch of b takes b + {FIXED_MS:g} ms; the worker takes all that waits,
after a window if there is one. Then an engine of {PLACES} places with more waiting than fits. Then
two workers whose steps take 5 ms, and 0.05 ms for each prompt token and each answer under way;
prompts of {PROMPT:,} and answers of {ANSWER} tokens in the mean, exponential. *Two pools*: one
computes the prompts, the other answers; the KV cache moves between them
(`disaggregated`, told to keep them apart; by default it computes a prompt where that is sooner).
""",
    theory=f"""
If a free worker takes all that waits, batches grow with the load by themselves: the mean is `t0 +
a + (1/2 + r)(t0 / (1 - r) + a r / (1 - r^2))` with r the load per job (cf. Inoue 2021). A window
gains only where the worker would be idle. A batch that runs to its end waits for its longest
answer: of exponential ones, {PLACES} places do the work of {PLACES} / H({PLACES}). A prompt
computed whole stops the answers beside it for as long as it takes; chunks bound that by the budget
of a step (Sarathi-Serve 2024), a pool of its own takes it away (DistServe 2024), and pays with
half a fleet that cannot help the other half.
""",
    practice="""
`continuous` is the default, and `microbatch` is for one-shot work at low load. Chunks of 512 are a
good compromise; smaller ones trade the first token for even ones. Split pools when the time between
tokens is what is promised, and the ratio of the pools fits the load: at high rates the prefill pool
is the bottleneck, and TTFT is what it costs.
""",
    cases=(
        *(("one-shot", window, load) for window in WINDOWS_MS for load in (LOW, *LOADS)),
        *(("static", batching, 0.0) for batching in ("static", "continuous")),
        *(("prompts", kind, rate) for kind in KINDS for rate in RATES),
    ),
    measure=measure,
    judge=judge,
    seeds=3,
)
