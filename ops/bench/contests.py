"""Workloads and fleets on which routers meet, and the load at which they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from parallax.core.model import Job
from parallax.core.settings import Policies
from parallax.sim.report.figures import figures, per_tenant
from parallax.sim.report.statistics import percentile
from parallax.sim.simulate import simulate
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.workloads.catalog import load

SHOWN = (
    "goodput", "ttft_ms_p50", "ttft_ms_p95", "tpot_ms_p95", "prefix_hit_ratio", "jain_fairness",
    "goodput_least", "dropped",
)  # fmt: skip
Measured = dict[str, float | None]
#: Loads by name: a goodput of the baseline, or a multiple of the load of 90 %.
LOADS = ("0.9", "0.99", "1.2x")
#: Models of a fleet of two, dealt by session, prefix or tenant.
MODELS = ("one", "two")


@dataclass(frozen=True, slots=True)
class Contest:
    """A workload, a fleet, and what its users expect (seconds)."""

    name: str
    workload: WorkloadSpec
    fleet: FleetSpec
    ttft_s: float
    tpot_s: float
    loads: tuple[float, float]  # between these the right one is sought
    slow: int = 0  # every so many-th worker takes twice as long; 0: none does
    due: bool = False  # whether jobs have deadlines

    def spec(self, policies: Policies, load: float, seed: int) -> RunSpec:
        """Return the run of some policies at so many times the workload's rate."""
        workload = replace(self.workload, rate_scale=load)
        workers = range(0, self.fleet.workers, self.slow) if self.slow else ()
        faults = tuple(FaultSpec("slow", f"w{n:04d}", 0.0, factor=2.0) for n in workers)
        return RunSpec(
            workload, self.fleet, policies, faults, seed=seed, slo_ttft_s=self.ttft_s,
            slo_tpot_s=self.tpot_s,
        )  # fmt: skip

    def jobs(self, spec: RunSpec) -> Iterator[Timed]:
        """Yield the jobs of a run, with models and deadlines where the contest has them."""
        jobs = load(spec.workload, spec.seed)
        if self.fleet.models:
            jobs = ((at_s, replace(job, model=model_of(job))) for at_s, job in jobs)
        if self.due:
            kept = list(jobs)
            answers = sorted(job.output_tokens or 1 for _, job in kept)
            due_s = self.ttft_s + self.tpot_s * percentile(answers, 95)
            jobs = iter([(at_s, replace(job, deadline_s=due_s)) for at_s, job in kept])
        return jobs

    def measured(self, policies: Policies, load: float, seed: int) -> Measured:
        """Simulate one run and return the figures that are shown."""
        spec = self.spec(policies, load, seed)
        run = simulate(spec, self.jobs(spec))
        found = figures(run)
        offered = found["jobs_offered"] or 1
        least = min((row["goodput"] for row in per_tenant(run)), default=None)  # type: ignore[type-var]
        found["goodput_least"] = None if least is None else float(least)
        found["dropped"] = 1.0 - (found["jobs_completed"] or 0) / offered
        return {name: found[name] for name in SHOWN}


def model_of(job: Job) -> str:
    """Return the model of a job: those that share a prefix share it."""
    shared = job.session or str(job.prefix[:1] or job.tenant)
    return MODELS[crc32(shared.encode()) % len(MODELS)]


def contests(traces: Path, limit: int) -> list[Contest]:
    """Return the five workloads. Noise of a few seconds makes seeds of a trace differ."""

    def trace(file: str, **more: object) -> WorkloadSpec:
        path = str(traces / file)
        return WorkloadSpec(path, limit=limit, jitter_s=5.0, **more)  # type: ignore[arg-type]

    llama, qwen = FleetSpec(16), FleetSpec(8, "qwen3-32b-h100-tp2")
    return [
        Contest("Azure conv", trace("AzureLLMInferenceTrace_conv.csv", tenants=8), llama,
                1.0, 0.1, (1.0, 60.0)),
        Contest("Azure code", trace("AzureLLMInferenceTrace_code.csv", tenants=8), llama,
                1.0, 0.1, (1.0, 60.0)),
        Contest("Mooncake conversation", trace("mooncake_conversation_trace.jsonl", tenants=8),
                llama, 5.0, 0.1, (0.1, 10.0)),
        Contest("llm-d, shared prefixes", WorkloadSpec("llmd_73", limit=limit), qwen, 2.0, 0.1,
                (0.1, 5.0)),
        Contest("VTC arena", trace("vtc_arena_trace.csv", format="vtc"),
                FleetSpec(4, "llama2-7b-a10g"), 5.0, 0.2, (0.2, 20.0)),
    ]  # fmt: skip


def _wider(one: Contest) -> Contest:
    """Return a contest on four times the workers, at loads to match."""
    low, high = one.loads
    fleet = replace(one.fleet, workers=4 * one.fleet.workers)
    return replace(one, fleet=fleet, loads=(low, 4 * high))


def _with_fleet(**changes: object) -> Callable[[Contest], Contest]:
    return lambda one: replace(one, fleet=dataclasses.replace(one.fleet, **changes))  # type: ignore[arg-type]


#: How a fleet differs from one of equal workers.
FLEETS: Mapping[str, Callable[[Contest], Contest]] = {
    "equal": lambda one: one,
    "speeds": lambda one: replace(one, slow=2),
    "stragglers": _with_fleet(straggler_share=0.02, straggler_factor=10.0),
    "wide": _wider,
    "pools": lambda one: _with_fleet(prefill_workers=max(1, one.fleet.workers // 4))(one),
    "models": _with_fleet(models=MODELS),
}


def critical(contest: Contest, baseline: Policies, target: float, steps: int) -> float | None:
    """Return the load at which the baseline's goodput falls to the target. O(steps) runs.

    None if it is below that at the smallest load already.
    """
    low, high = contest.loads
    reached = False
    for _ in range(steps):
        middle = (low * high) ** 0.5
        goodput = contest.measured(baseline, middle, 0)["goodput"] or 0.0
        reached |= goodput > target
        low, high = (middle, high) if goodput > target else (low, middle)
    return low if reached else None
