"""Held against VTC (Sheng et al., OSDI'24): its arena trace, measured on one A10G.

Llama-2-7B with a pool of 10,000 tokens; 1,500 requests of 27 clients in ten minutes, more than it
can serve. Two constants of the engine come from another run of that artifact (see
`engine.profiles`); none was fitted to what is judged here. FCFS is `fifo`, VTC is `fair_queuing`; a
job is sent to the engine when it is expected to fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean, median

from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.validation.check import Check

TRACE = "vtc_arena_trace.csv"
CASES = (("FCFS", "fifo", "vtc_real_FCFS.jsonl"), ("VTC", "fair_queuing", "vtc_real_vtc.jsonl"))
PROFILE = "llama2-7b-a10g"


def checks(traces: Path, published: Path, seed: int = 0) -> Iterator[Check]:
    """Yield predictions beside measurements; raises InvalidInput for a file that is not there."""
    for name, fairness, file in CASES:
        predicted = _summary(_simulated(traces / TRACE, fairness, seed))
        measured = _summary(_measured(published / file))
        yield Check(f"vtc {name}", "mean TTFT (s)", predicted[0], measured[0], 0.20)
        yield Check(f"vtc {name}", "median client's TTFT (s)", predicted[1], measured[1], 0.30)


def spec_of(trace: Path, fairness: str, seed: int) -> RunSpec:
    """Return the run that imitates the published one."""
    policies = Policies(
        admission=PolicyChoice("unlimited"),
        fairness=PolicyChoice(fairness),
        ordering=PolicyChoice("fcfs"),
        gate=PolicyChoice("jbsq", {"prefetch": 0, "memory": True}),
    )
    fleet = FleetSpec(workers=1, profile=PROFILE)
    return RunSpec(WorkloadSpec(str(trace), "vtc"), fleet, policies, seed=seed)


def _simulated(trace: Path, fairness: str, seed: int) -> list[tuple[str, float]]:
    run = simulate(spec_of(trace, fairness, seed))
    return [(job.tenant, job.ttft_s) for job in run.jobs if job.outcome == "completed"]


def _measured(file: Path) -> list[tuple[str, float]]:
    try:
        result = json.loads(file.read_text("utf-8").splitlines()[0])["result"]
        rows = [(r["adapter_dir"], float(r["first_token_latency"])) for r in result["responses"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        allowed = f"a result of the VTC artifact ({error})"
        raise InvalidInput(f"published {file.name}", str(file), allowed) from None
    return rows


def _summary(rows: Iterable[tuple[str, float]]) -> tuple[float, float]:
    """Return the mean over requests, and the median over clients of their means."""
    clients: dict[str, list[float]] = {}
    for client, seconds in rows:
        clients.setdefault(client, []).append(seconds)
    everything = [seconds for times in clients.values() for seconds in times]
    return fmean(everything), median(fmean(times) for times in clients.values())
