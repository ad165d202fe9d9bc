"""Runs built by hand: a few jobs whose figures can be told in the head."""

from __future__ import annotations

from math import nan
from typing import Any

from parallax.sim.outcome import JobOutcome, Run, Sample
from parallax.sim.provenance import provenance
from parallax.sim.report.record import Record, record
from parallax.sim.spec import RunSpec, WorkloadSpec

SPEC = RunSpec(WorkloadSpec("trace.csv"), slo_ttft_s=1.0, slo_tpot_s=0.1)


def done(n: int, ttft_s: float = 0.5, tokens: int = 11, tpot_s: float = 0.05, **fields: Any
         ) -> JobOutcome:  # fmt: skip
    """Return a job that arrived at second `n` and completed."""
    first = n + ttft_s
    values: dict[str, Any] = {
        "tenant": "acme", "session": "", "arrival_s": float(n), "prompt_tokens": 100,
        "outcome": "completed", "output_tokens": tokens, "dispatched_s": n + 0.1,
        "first_token_s": first, "finished_s": first + tpot_s * (tokens - 1), "worker": "w0000",
        "attempts": 1,
    }  # fmt: skip
    return JobOutcome(f"j{n}", **(values | fields))


def lost(n: int, outcome: str, tenant: str = "acme") -> JobOutcome:
    """Return a job that did not complete."""
    return JobOutcome(f"j{n}", tenant, "", float(n), 100, outcome, deadline_s=nan)


def run_of(*jobs: JobOutcome, spec: RunSpec = SPEC, **fields: Any) -> Run:
    values: dict[str, Any] = {
        "samples": [Sample(0.0, 0, 0, 2, 0.0), Sample(5.0, 7, 3, 2, 0.4)],
        "counters": {"dispatches": 3.0, "retries": 1.0},
        "worker_busy_s": {"w0000": 8.0, "w0001": 4.0},
        "duration_s": 10.0,
        "notes": ["5 s: w0000 crashes"],
    }
    return Run(spec.document(), list(jobs), **(values | fields))


def record_of(run: Run) -> Record:
    return record(run, provenance(run.spec, {"parallax": "1"}, {"trace.csv": "ab" * 32}, "cd" * 32))
