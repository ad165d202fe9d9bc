"""Parallax's default composition beside other routers' rules, on other people's traces.

For each workload the load is sought at which round robin's goodput falls to 90 %; there every
router serves the same arrivals, several seeds each. A rival is its published routing rule with
nothing before it, as it runs: every request is sent on at once. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from parallax.cli.output import show
from parallax.cli.pool import spread
from parallax.core.settings import Policies
from parallax.sim.binding import routed
from parallax.sim.report.figures import figures
from parallax.sim.report.html import with_interval
from parallax.sim.report.statistics import Interval, interval
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec

DEFAULT, BASELINE = "parallax", "round_robin"
RIVALS = (
    "sglang_cache_aware", "smg_least_load", "llmd_default", "dynamo_kv", "ray_pow2",
    "aibrix_prefix",
)  # fmt: skip
ROUTERS: Mapping[str, Policies] = {
    DEFAULT: Policies(),
    BASELINE: routed(BASELINE),
    **{name: routed(name) for name in RIVALS},
}
SHOWN = (
    "goodput", "ttft_ms_p50", "ttft_ms_p95", "tpot_ms_p95", "prefix_hit_ratio", "jain_fairness",
)  # fmt: skip
TARGET = 0.90  # goodput of the baseline
STEPS = 9  # halvings of the range in which the load is sought


@dataclass(frozen=True, slots=True)
class Contest:
    """A workload, a fleet, and what its users expect (seconds)."""

    name: str
    workload: WorkloadSpec
    fleet: FleetSpec
    ttft_s: float
    tpot_s: float
    loads: tuple[float, float]  # between these the right one is sought

    def spec(self, router: str, load: float, seed: int) -> RunSpec:
        """Return the run of one router at so many times the workload's rate."""
        workload = replace(self.workload, rate_scale=load)
        return RunSpec(
            workload, self.fleet, ROUTERS[router], seed=seed, slo_ttft_s=self.ttft_s,
            slo_tpot_s=self.tpot_s,
        )  # fmt: skip


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


def measured(spec: RunSpec) -> dict[str, float | None]:
    """Simulate one run and return the figures that are shown."""
    found = figures(simulate(spec))
    return {name: found[name] for name in SHOWN}


def critical(contest: Contest) -> float:
    """Return the load at which the baseline's goodput falls to the target. O(STEPS) runs."""
    low, high = contest.loads
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        goodput = measured(contest.spec(BASELINE, middle, 0))["goodput"] or 0.0
        low, high = (middle, high) if goodput > TARGET else (low, middle)
    return low


def played(given: tuple[Contest, int]) -> tuple[float, dict[str, list[dict[str, float | None]]]]:
    """Return the load of a contest, and the figures of every router, by seed."""
    contest, seeds = given
    load = critical(contest)
    runs = {
        router: [measured(contest.spec(router, load, seed)) for seed in range(seeds)]
        for router in ROUTERS
    }
    return load, runs


def first_or_tied(runs: Mapping[str, Sequence[Mapping[str, float | None]]]) -> bool:
    """Whether no rival's goodput is higher by more than the differences by seed leave open."""
    mine = [run["goodput"] or 0.0 for run in runs[DEFAULT]]
    for rival in RIVALS:
        theirs = [run["goodput"] or 0.0 for run in runs[rival]]
        lead = interval([b - a for a, b in zip(mine, theirs, strict=True)])
        if lead.mean > (lead.half or 0.0):
            return False
    return True


def _rows(
    runs: Mapping[str, Sequence[Mapping[str, float | None]]],
) -> Iterable[tuple[object, ...]]:
    for router, found in runs.items():
        yield router, *(with_interval(_interval(found, name)) for name in SHOWN)


def _interval(found: Sequence[Mapping[str, float | None]], name: str) -> Interval | None:
    values = [run[name] for run in found]
    known = [value for value in values if value is not None]
    return interval(known) if known else None


@click.command()
@click.argument("traces", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--limit", default=6_000, show_default=True, help="Requests of each trace.")
@click.option("--seeds", default=5, show_default=True, help="Runs of each router.")
@click.option("--only", default="", help="Workloads whose names contain this.")
def main(traces: Path, limit: int, seeds: int, only: str) -> None:
    """Compare Parallax with other routers' rules on the traces in the directory TRACES."""
    chosen = [one for one in contests(traces, limit) if only.lower() in one.name.lower()]
    tasks = [(contest, seeds) for contest in chosen]
    document: dict[str, object] = {}
    for (contest, _), result in spread(played, tasks, os.cpu_count() or 1, "workloads"):
        if isinstance(result, BaseException):
            raise click.ClickException(f"{contest.name}: {result}")
        load, runs = result
        title = f"{contest.name}, {load:.2f} times its rate"
        click.echo(f"\n{title}: goodput within {contest.ttft_s:g} s to the first token, "
                   f"{contest.tpot_s:g} s for each further one")  # fmt: skip
        show(None, as_json=False, title=title, head=("router", *SHOWN), rows=list(_rows(runs)))
        document[contest.name] = first_or_tied(runs)
    click.echo(json.dumps({"first_or_tied": document}))


if __name__ == "__main__":
    main()
