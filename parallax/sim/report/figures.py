"""The figures of a run, under the names the field uses, and the same for each tenant.

What they mean:

* Latencies are those of completed jobs and count from the arrival that the workload intended, so a
  system that stalls cannot hide it (no coordinated omission). Percentiles are nearest-rank.
* `tpot_ms` is the time per output token after the first; an answer of one token has none and is
  left out of it, but meets every objective.
* `goodput` is the share of *offered* jobs that completed within the objectives and their deadline:
  what was rejected counts as missed.
* Rates are per second of the whole run, until the last job ended.
* A figure that nothing was measured for is None, never 0.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf, isnan
from statistics import fmean

from parallax.core.cost import TokenCost
from parallax.core.model import Slo
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.report.statistics import jain, percentile

Figure = float | int | None

LATENCIES = ("ttft_ms", "tpot_ms", "e2e_ms", "queue_ms")
_PERCENTS = (50, 90, 95, 99)
_STATISTICS = ("mean", *(f"p{percent}" for percent in _PERCENTS))
SHARES = ("goodput", "prefix_hit_ratio", "utilisation_mean", "jain_fairness", "kv_used_max")
RATES = ("goodput_per_s", "throughput_per_s", "output_tokens_per_s", "prompt_tokens_per_s")
_OUTCOMES = ("completed", "rejected", "expired", "failed", "dead")
COUNTS = ("jobs_offered", *(f"jobs_{word}" for word in _OUTCOMES), "jobs_unfinished", "queue_max")
COUNTERS = (
    "dispatches", "hedges", "cancels", "steals", "handovers", "retries", "preemptions", "scalings",
)  # fmt: skip
#: Every figure there is, in the order in which people want to read them.
NAMES = (
    *SHARES,
    *RATES,
    *(f"{latency}_{statistic}" for latency in LATENCIES for statistic in _STATISTICS),
    *COUNTS,
    "duration_s",
    *COUNTERS,
)
_COST = TokenCost()


def figures(run: Run) -> dict[str, Figure]:
    """Return all figures of a run; every name of `NAMES` is there, and every counter of the run."""
    slo, duration = slo_of(run.spec), run.duration_s
    done = completed(run.jobs)
    good = sum(is_good(job, slo) for job in done)
    ended = Counter(job.outcome for job in run.jobs)
    table: dict[str, Figure] = {
        "goodput": good / len(run.jobs) if run.jobs else None,
        "prefix_hit_ratio": hit_ratio(done),
        "utilisation_mean": utilisation(run),
        "jain_fairness": jain(list(costs(run.jobs).values())),
        "kv_used_max": max((sample.kv_used for sample in run.samples), default=None),
        "goodput_per_s": _rate(good, duration),
        "throughput_per_s": _rate(len(done), duration),
        "output_tokens_per_s": _rate(sum(job.output_tokens for job in done), duration),
        "prompt_tokens_per_s": _rate(sum(job.prompt_tokens for job in done), duration),
        "jobs_offered": len(run.jobs),
        **{f"jobs_{word}": ended[word] for word in _OUTCOMES},
        "jobs_unfinished": ended[""],
        "queue_max": max((sample.queued for sample in run.samples), default=None),
        "duration_s": duration,
        **{name: run.counters.get(name, 0) for name in (*COUNTERS, *run.counters)},
    }
    for name in LATENCIES:
        table |= _spread(name, [latency(job, name) for job in done])
    return {name: table[name] for name in (*NAMES, *sorted(table.keys() - set(NAMES)))}


def per_tenant(run: Run) -> list[dict[str, Figure | str]]:
    """Return one row for each tenant, by name. `cost_share` is its part of the cost served."""
    slo = slo_of(run.spec)
    jobs: defaultdict[str, list[JobOutcome]] = defaultdict(list)
    for job in run.jobs:
        jobs[job.tenant].append(job)
    served = costs(run.jobs)
    total = sum(served.values())
    return [
        {
            "tenant": tenant,
            **_of_tenant(jobs[tenant], slo, run.duration_s),
            "cost": served[tenant],
            "cost_share": served[tenant] / total if total else None,
        }
        for tenant in sorted(jobs)
    ]


def _of_tenant(jobs: list[JobOutcome], slo: Slo, duration_s: float) -> dict[str, Figure | str]:
    done = completed(jobs)
    table: dict[str, Figure] = {}
    for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
        table |= _spread(name, [latency(job, name) for job in done])
    return {
        "jobs_offered": len(jobs),
        "jobs_completed": len(done),
        "goodput": sum(is_good(job, slo) for job in done) / len(jobs),
        "output_tokens_per_s": _rate(sum(job.output_tokens for job in done), duration_s),
        "prefix_hit_ratio": hit_ratio(done),
        **{name: table[name] for name in ("ttft_ms_p50", "ttft_ms_p95", "tpot_ms_mean")},
        "e2e_ms_p95": table["e2e_ms_p95"],
    }


def completed(jobs: Iterable[JobOutcome]) -> list[JobOutcome]:
    """Return the jobs that completed."""
    return [job for job in jobs if job.outcome == "completed"]


def latency(job: JobOutcome, name: str) -> float:
    """Return one of `LATENCIES` of a job; NaN if it has none."""
    if name == "tpot_ms":
        return job.tpot_s * 1000 if job.output_tokens > 1 else float("nan")
    if name == "queue_ms":
        return (job.dispatched_s - job.arrival_s) * 1000
    return (job.ttft_s if name == "ttft_ms" else job.e2e_s) * 1000


def slo_of(spec: Mapping[str, object]) -> Slo:
    """Return the objectives of a run; what its spec does not name is no objective."""
    ttft, tpot = spec.get("slo_ttft_s"), spec.get("slo_tpot_s")
    return Slo(
        inf if ttft is None else float(ttft),  # type: ignore[arg-type]
        inf if tpot is None else float(tpot),  # type: ignore[arg-type]
    )


def is_good(job: JobOutcome, slo: Slo) -> bool:
    """Whether a completed job kept the objectives and its deadline."""
    in_time = isnan(job.deadline_s) or job.finished_s <= job.deadline_s
    return in_time and slo.met(job.ttft_s, job.tpot_s)


def hit_ratio(jobs: Iterable[JobOutcome]) -> float | None:
    """Return the share of prompt tokens that were found in a cache."""
    cached = prompt = 0
    for job in jobs:
        cached += job.cached_tokens
        prompt += job.prompt_tokens
    return cached / prompt if prompt else None


def costs(jobs: Iterable[JobOutcome]) -> dict[str, float]:
    """Return the cost each tenant was served; a tenant that got nothing is there with 0."""
    served: defaultdict[str, float] = defaultdict(float)
    for job in jobs:
        served[job.tenant] += (
            _COST(job.prompt_tokens - job.cached_tokens, job.output_tokens)
            if job.outcome == "completed"
            else 0.0
        )
    return dict(served)


def utilisation(run: Run) -> float | None:
    """Return busy seconds over the seconds that workers were there.

    The number of workers is known from the samples; between two of them it counts as the first
    says. A worker that came and worked between two samples may make that a little too small.
    """
    if not run.duration_s:
        return None
    present = len(run.worker_busy_s) * run.duration_s
    if run.samples:
        times = [*(sample.at_s for sample in run.samples), run.duration_s]
        times[0] = 0.0
        present = sum(
            sample.workers * max(0.0, after - before)
            for sample, (before, after) in zip(run.samples, pairwise(times), strict=True)
        )
    return min(1.0, sum(run.worker_busy_s.values()) / present) if present else None


def _spread(name: str, values: list[float]) -> dict[str, Figure]:
    ordered = sorted(value for value in values if not isnan(value))
    if not ordered:
        return {f"{name}_{statistic}": None for statistic in _STATISTICS}
    return {
        f"{name}_mean": fmean(ordered),
        **{f"{name}_p{percent}": percentile(ordered, percent) for percent in _PERCENTS},
    }


def _rate(amount: float, duration_s: float) -> float | None:
    return amount / duration_s if duration_s else None
