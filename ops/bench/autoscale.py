"""How many worker-seconds a week costs: this autoscaler, and the cluster's rule on the processor.

A made-up week with the shape of Azure's: days and nights, a weekend, bursts; an hour of it takes
`HOUR_S` seconds. Each rule is tried at several targets, and of those that keep the objective the
cheapest counts: neither is compared at a setting that does not suit it. The last line is one JSON
object; `share` is what ours costs over what the rule on the processor costs. A batching engine is
busy with one request as with fifty, so that rule has little to go by; beside it stands the same
rule on offered load, which is what we would tell a cluster to use.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import click

from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.report.figures import figures
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec

#: An hour of the week, and how long a worker takes to serve: a quarter of a minute of an hour.
HOUR_S, STARTUP_S, EVERY_S = 60.0, 10.0, 5.0
#: The least rate of a night, the most of a working day, and what a weekend has of both.
NIGHT, DAY, WEEKEND = 0.35, 1.65, 0.55
#: What is promised: so many jobs with a first token, and later ones, within these times.
GOOD, TTFT_S, TPOT_S = 0.95, 2.0, 0.1
OURS, CPU, OFFERED = "backlog_slo", "hpa (busy)", "hpa (offered)"
TARGETS = {CPU: (0.8, 0.9, 0.97), OURS: (0.8, 0.9), OFFERED: (0.7, 0.9)}
MOST = 60


@dataclass(frozen=True, slots=True)
class Result:
    """A rule at a target: what it cost, and how much of what was asked it served in time."""

    rule: str
    target: float
    worker_s: float
    goodput: float


def rates(mean: float) -> Iterator[float]:
    """Yield the rate of each hour of the week, the first a Monday's."""
    for hour in range(7 * 24):
        swing = (1 - cos(2 * pi * ((hour % 24) - 3) / 24)) / 2
        week = WEEKEND if hour >= 5 * 24 else 1.0
        yield mean * week * (NIGHT + (DAY - NIGHT) * swing)


def week(mean: float, days: int) -> str:
    """Return the load as a file: a stage for each hour."""
    hours = list(rates(mean))[: days * 24] if days < 7 else list(rates(mean))
    stages = ", ".join(f"{{ rate = {rate:.4f}, seconds = {HOUR_S} }}" for rate in hours)
    return (
        'kind = "singles"\ncv = 1.4\nprompt = { mean = 1155, cv = 0.96 }\n'
        f"output = {{ mean = 211, cv = 0.77 }}\nstages = [{stages}]\n"
    )


def policy(rule: str, target: float) -> PolicyChoice:
    """Return the scaling policy: windows are as long beside an hour as in a cluster's settings."""
    common = {"target": target, "stable_s": 30.0, "fewest": 1, "most": MOST}
    if rule != OURS:
        return PolicyChoice("hpa", {**common, "metric": "busy" if rule == CPU else "offered"})
    return PolicyChoice("backlog_slo", {**common, "slo_s": TTFT_S, "startup_s": STARTUP_S})


def simulated(load: Path, rule: str, target: float) -> Result:
    """Simulate the week."""
    spec = RunSpec(
        WorkloadSpec(str(load)), FleetSpec(workers=4, startup_s=STARTUP_S),
        Policies(scaling=policy(rule, target)), slo_ttft_s=TTFT_S, slo_tpot_s=TPOT_S,
        scale_every_s=EVERY_S,
    )  # fmt: skip
    told = figures(simulate(spec))
    return Result(rule, target, float(told["worker_s"] or 0), float(told["goodput"] or 0))


def cheapest(found: list[Result], rule: str) -> Result | None:
    """Return the cheapest setting of a rule that keeps the objective."""
    kept = [one for one in found if one.rule == rule and one.goodput >= GOOD]
    return min(kept, key=lambda one: one.worker_s, default=None)


def summary(found: list[Result]) -> dict[str, Any]:
    """Return what came of it."""
    best = {rule: cheapest(found, rule) for rule in TARGETS}
    told = {
        rule: one and {"target": one.target, "worker_s": round(one.worker_s)}
        for rule, one in best.items()
    }
    return {
        "objective": {"goodput": GOOD, "ttft_s": TTFT_S, "tpot_s": TPOT_S}, **told,
        "share": _share(best[OURS], best[CPU]),
        "share_of_offered": _share(best[OURS], best[OFFERED]),
    }  # fmt: skip


def _share(ours: Result | None, theirs: Result | None) -> float | None:
    return round(ours.worker_s / theirs.worker_s, 3) if ours and theirs else None


@click.command()
@click.option("--rate", default=4.0, show_default=True, help="Mean rate of a working day.")
@click.option("--days", type=click.IntRange(1, 7), default=7, show_default=True)
def main(rate: float, days: int) -> None:
    """Measure."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        load = Path(folder) / "week.toml"
        load.write_text(week(rate, days))
        for rule, targets in TARGETS.items():
            for target in targets:
                found.append(one := simulated(load, rule, target))
                print(f"{rule:14} {target:4} {one.worker_s:10.0f} worker-s {one.goodput:7.4f}")
    print(json.dumps(summary(found)))


if __name__ == "__main__":
    main()
