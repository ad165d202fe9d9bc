"""Held against Mooncake (FAST'25, figure 5): four ways to choose among 16 prefill nodes.

The paper says neither the speed of its nodes nor that of its replay, so one constant, how long a
node takes, is fitted on the random policy alone; the other three follow. A node computes one prompt
at a time and has 3 million tokens of cache. The trace's clock ticks every 3 s: arrivals are spread
within the tick. `kv_locality` with omega 1 is the paper's cache-aware rule (queue plus what is left
to compute); its global variant moves caches between nodes, which is not modelled: the default
composition, which avoids copies instead, stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean

from parallax.engine.profiles import Profile, profile_named
from parallax.sim.binding import routed
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.validation.check import Check
from parallax.sim.workloads.catalog import load

TRACE = "mooncake_conversation_trace.jsonl"
NODES = 16
CACHE_TOKENS = 3_000_320
MEASURED_S = {"random": 19.65, "load": 5.27, "local": 3.58, "global": 3.07}
POLICIES = {
    "random": routed("random"),
    "load": routed("least_loaded", by_requests=True),
    # Without what the paper's rules do not look at.
    "local": routed(
        "kv_locality", omega=1.0, stickiness=0.0, jobs=0.0, memory=0.0, interference=0.0, least=0.0
    ),
    "global": routed("kv_locality", jobs=0.0, memory=0.0, interference=0.0, least=0.0),
}


def checks(traces: Path, seed: int = 0) -> Iterator[Check]:
    """Yield predictions beside measurements, the fitted one first."""
    workload = WorkloadSpec(str(traces / TRACE), "mooncake", jitter_s=3.0)
    jobs = [(at_s, replace(job, output_tokens=1)) for at_s, job in load(workload, seed)]
    factor = _fitted(jobs, seed)
    for name, measured in MEASURED_S.items():
        predicted = _ttft_s(name, factor, jobs, seed)
        fitted = name == "random"
        what = f"mean TTFT (s){', fitted' if fitted else ''}"
        yield Check(f"mooncake {name}", what, predicted, measured, 0.05 if fitted else 0.30)


def _fitted(jobs: list[Timed], seed: int) -> float:
    """Return how many times slower than the model's a node is, by bisection on `random`."""
    low, high = 0.1, 10.0
    for _ in range(10):
        middle = sqrt(low * high)
        if _ttft_s("random", middle, jobs, seed) > MEASURED_S["random"]:
            high = middle
        else:
            low = middle
    return sqrt(low * high)


def node(factor: float) -> Profile:
    """Return a prefill node so many times slower than a 70B model on four A100."""
    base = profile_named("llama3-70b-a100-tp4")
    cost = base.cost
    slower = replace(
        cost,
        base_ms=cost.base_ms * factor,
        prefill_ms=cost.prefill_ms * factor,
        quad_ms=cost.quad_ms * factor,
    )
    return replace(
        base, name="mooncake-node", cost=slower, block_size=512, kv_capacity=CACHE_TOKENS,
        max_seqs=1, token_budget=1_000_000,
    )  # fmt: skip


def _ttft_s(name: str, factor: float, jobs: list[Timed], seed: int) -> float:
    spec = RunSpec(WorkloadSpec(TRACE), FleetSpec(NODES), POLICIES[name], seed=seed)
    run = simulate(spec, jobs, profile=node(factor))
    return fmean(job.ttft_s for job in run.jobs if job.outcome == "completed")
