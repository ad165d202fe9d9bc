"""Rows of steps held against single steps, on recorded traffic.

The simulator takes rows of like steps at once. Here the same requests are played a second time,
step by step, and every first and last token is compared. Both times the policies that run live
decide; what they decide may hang on when they are told, so a law holds the engine alone to a
billionth, and here a thousandth is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.sim.outcome import Run
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.validation.check import Check

REQUESTS, WORKERS = 2_000, 4
ALLOWED = 0.001


def checks(traces: Path, seed: int = 0) -> Iterator[Check]:
    """Yield the worst request of every trace in a directory; raises InvalidInput without any."""
    files = sorted(path for path in traces.iterdir() if path.suffix in (".csv", ".jsonl"))
    if not files:
        raise InvalidInput("--traces", str(traces), "a directory with .csv or .jsonl files")
    for path in files:
        workload = WorkloadSpec(str(path), limit=REQUESTS)
        spec = RunSpec(workload, FleetSpec(WORKERS), seed=seed)
        single = replace(spec, fleet=replace(spec.fleet, exact=True))
        worst = worst_of(simulate(spec), simulate(single))
        yield Check("single steps", f"{path.stem}, worst token", 1.0 + worst, 1.0, ALLOWED)


def worst_of(rows: Run, single: Run) -> float:
    """Return the largest relative difference of a job's first or last token, from its arrival."""
    worst = 0.0
    for one, other in zip(rows.jobs, single.jobs, strict=True):
        if one.outcome != other.outcome:
            return 1.0
        if one.outcome == "completed":
            worst = max(worst, _apart(one.ttft_s, other.ttft_s), _apart(one.e2e_s, other.e2e_s))
    return worst


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max(one, other, 1e-9)
