"""`parallax advise`: which policies and how many workers for a load and what its users expect."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import click

from parallax.cli.advice_runs import Bench, look
from parallax.cli.advice_view import document, tell
from parallax.cli.grid import combinations
from parallax.cli.main import EXIT_MISSED
from parallax.cli.names import Number, WorkloadName
from parallax.cli.output import write_json
from parallax.cli.run_options import experiment_options
from parallax.cli.run_spec import thresholds_from
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int
from parallax.services.clock import SystemClock
from parallax.sim.advice import worded
from parallax.sim.report.thresholds import parse as parse_threshold
from parallax.sim.spec import RunSpec
from parallax.sim.traces.files import no_pipe
from parallax.sim.workloads.catalog import load
from parallax.sim.workloads.made import names

#: What is tried of each kind unless options name others; the default composition is the first.
GRID = {
    "routing": "kv_locality,least_loaded,power_of_two,consistent_hash,round_robin",
    "ordering": "sjf,fcfs",
    "admission": "thresholds,thresholds+codel",
}
#: One more order where jobs have deadlines; without, it would be that of arrival.
WITH_DEADLINES = ",least_slack"
GOAL = "goodput>=95%"
LIMIT = 4_000  # jobs of a load, unless an option says
#: Seeds move the arrivals of a trace by up to so many seconds, and so many usual gaps.
JITTER_S, GAPS = 5.0, 10


@click.command()
@click.argument("workload", type=WorkloadName(), required=False)
@experiment_options
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of what is compared.")
@click.option("--max-workers", type=int, default=256, show_default=True,
              help="Larger fleets are not thought of.")  # fmt: skip
@click.option("--budget", type=Number(1.0, 86_400.0), default=300.0, show_default=True,
              metavar="SECONDS", help="Time for runs; none begins later.")  # fmt: skip
@click.option("--jobs", type=int, help="Processes [default: one per core].")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def advise(
    workload: str | None,
    seeds: int,
    max_workers: int,
    budget: float,
    jobs: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say which policies and how many workers WORKLOAD needs, and what others would cost.

    Objectives (--slo-ttft, --slo-tpot) say what a good answer is; thresholds say what is to be
    reached: goodput>=95% unless another is given. First the smallest fleet that reaches it is
    sought, from --workers on, with the default policies. At that size a grid of routing, ordering
    and admission is tried, and what is promising with all seeds: policy options with several
    names, A,B,C, make another grid. Of policies that the seeds do not tell apart the first is
    taken. Last, the fleets around that size are tried with the policies that were chosen. Seeds
    move the arrivals of a trace by up to ten usual gaps, 5 s at most.

    At most 4,000 jobs are served unless --limit says otherwise. If the budget is short less is
    tried, and that is said. Exits with 3 if no fleet reaches the goal, with 1 if a run failed.
    """
    bench = Bench(SystemClock(), budget, jobs or os.cpu_count() or 1)
    check_int("--seeds", seeds, 1, 100)
    check_int("--max-workers", max_workers, 1, 10_000)
    check_int("--jobs", jobs or 1, 1, 1_024)
    goal = thresholds_from(options) or [parse_threshold(GOAL)]
    grid = {worded(spec.policies, GRID): spec for spec in _grid(workload, options)}
    found = look(grid, goal, bench, seeds, max_workers)
    if as_json:
        write_json(document(found, GRID))
    else:
        tell(found, GRID)
    sys.exit(0 if found.met else EXIT_MISSED)


def _grid(workload: str | None, options: dict[str, Any]) -> list[RunSpec]:
    """Return the specs of all combinations, the default composition first."""
    given = {**options, "limit": options["limit"] or LIMIT}
    given |= {kind: options[kind] or tried for kind, tried in GRID.items()}
    specs = list(combinations(workload, given))
    _check(specs[0])
    jitter_s, have_deadlines = _looked_at(specs[0])
    if have_deadlines and not options["ordering"]:
        given["ordering"] += WITH_DEADLINES
        specs = list(combinations(workload, given))
    return [replace(one, workload=replace(one.workload, jitter_s=jitter_s)) for one in specs]


def _looked_at(spec: RunSpec) -> tuple[float, bool]:
    """Return by how much seeds are to move arrivals, and whether jobs have deadlines.

    A trace is the same with every seed: then nothing would tell luck from merit. Noise of a few
    arrivals changes who meets whom, and leaves the rates of the trace as they are.
    """
    count, last_s, deadlines = 0, 0.0, False
    for at_s, job in load(spec.workload, spec.seed):
        count, last_s = count + 1, at_s * spec.workload.rate_scale
        deadlines |= job.deadline_s is not None
    drawn = spec.workload.path.endswith(".toml") or spec.workload.path in names()
    if drawn or spec.workload.closed or spec.workload.jitter_s:
        return spec.workload.jitter_s, deadlines
    return min(JITTER_S, GAPS * last_s / max(1, count)), deadlines


def _check(spec: RunSpec) -> None:
    """Refuse what cannot be advised on."""
    no_pipe(Path(spec.workload.path), "every run reads it")
    if spec.slo_ttft_s == spec.slo_tpot_s == inf:
        allowed = "an objective, --slo-ttft 2s or --slo-tpot 100ms: without any, all is good"
        raise InvalidInput("--slo-ttft", None, allowed)
    if spec.fleet.prefill_workers:
        allowed = "0: what is sized here are fleets of one kind of worker"
        raise InvalidInput("--prefill-workers", spec.fleet.prefill_workers, allowed)
