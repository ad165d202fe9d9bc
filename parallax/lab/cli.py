"""`parallax bench`: what can be measured on this machine in a few minutes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path

import click

from parallax.cli.lab_documents import Gap
from parallax.cli.main import EXIT_MISSED
from parallax.cli.names import PolicyName
from parallax.cli.output import write_json
from parallax.cli.plots import draw, plot_option
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int, check_number
from parallax.core.quantiles import quantile
from parallax.engine.profiles import profile_named
from parallax.lab import against_sim
from parallax.lab.against_sim import LATENCIES, TOLERANCES, Setting, every_routing, hops, measured
from parallax.lab.report import publish
from parallax.policies.registry import ROUTING
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.sim.report.svg import Series, line_chart
from parallax.sim.spec import WorkloadSpec
from parallax.sim.workloads.catalog import load


@click.command()
@click.option("--against-sim", is_flag=True, help="Run a load live and simulated.")
@click.argument("workload", default="chat", metavar="[WORKLOAD]")
@click.option("--routing", "routings", multiple=True, metavar="NAME", type=PolicyName("routing"),
              help="Routing policy; may be repeated [default: all of them].")  # fmt: skip
@click.option("--workers", type=int, default=4, show_default=True, help="Workers.")
@click.option("--profile", default="llama3-8b-a100", show_default=True,
              help="Model and hardware that the engines imitate.")  # fmt: skip
@click.option("--seconds", type=float, default=30.0, show_default=True,
              help="Seconds of the load that are run.")  # fmt: skip
@click.option("--rate-scale", type=float, default=1.0, show_default=True,
              help="Let jobs arrive so many times faster.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of load and policies.")
@plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def bench(
    against_sim: bool,
    workload: str,
    routings: tuple[str, ...],
    workers: int,
    profile: str,
    seconds: float,
    rate_scale: float,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure how far the simulator is from the live system, policy by policy.

    WORKLOAD is a trace or a made-up load. Exits with 3 if a latency is off by more than 5 % at the
    median or 10 % at the 95th percentile. Where one run says little it takes several. Ctrl-C ends
    it without a result.
    """
    if not against_sim:
        allowed = "it must be given: nothing else can be measured"
        raise InvalidInput("--against-sim", None, allowed)
    check_int("--workers", workers, 2, 64)
    check_number("--seconds", seconds, 1.0, 86_400.0)
    profile_named(profile)
    for routing in routings:
        ROUTING.build(routing, {})
    clock, setting = SystemClock(), Setting(workers, profile, seed)
    spec = WorkloadSpec(workload, rate_scale=rate_scale)
    jobs = list(takewhile(lambda timed: timed[0] < seconds, load(spec, seed)))
    if not jobs:
        raise InvalidInput("--seconds", seconds, "longer: no job of the load comes in it")
    gaps = []
    with Orders() as orders:
        hops_s = hops(setting, clock, orders)
        click.echo(f"a hop takes {quantile(hops_s, 0.5) * 1000:.1f} ms", err=True)
        for routing in routings or every_routing():
            gaps += measured(setting, routing, jobs, hops_s, clock, orders)
            click.echo(f"{gaps[-1].routing}: run {gaps[-1].draws} times", err=True)
    title = f"{len(jobs)} jobs in {seconds:g} s, {workers} workers: seconds, live and simulated"
    if plot is not None:
        draw(
            plot, "Parallax: live and simulated", title, [_chart(name, gaps) for name in LATENCIES]
        )
    (_documents if as_json else partial(_table, title))(gaps)


def _documents(gaps: Sequence[against_sim.Gap]) -> None:
    write_json([
        Gap(
            g.routing, g.latency, g.draws, g.live[0], g.simulated[0], g.live[1], g.simulated[1],
            g.held,
        )
        for g in gaps
    ])  # fmt: skip
    sys.exit(0 if all(g.held for g in gaps) else EXIT_MISSED)


def _chart(latency: str, gaps: Sequence[against_sim.Gap]) -> str:
    """Draw what was simulated against what was measured: on the line is right."""
    own = [gap for gap in gaps if gap.latency == latency]
    most = max((value for gap in own for value in (*gap.live, *gap.simulated)), default=1.0)
    series = [Series("simulated as measured", [(0.0, 0.0), (most, most)])]
    for at, (share, _) in enumerate(TOLERANCES):
        points = sorted((gap.live[at], gap.simulated[at]) for gap in own)
        series.append(Series(f"each routing policy, p{share * 100:.0f}", points))
    title = f"{latency.upper()}, simulated against measured"
    return line_chart(title, "measured, s", "simulated, s", series, marks=True)


def _table(title: str, gaps: Sequence[against_sim.Gap]) -> None:
    head = (
        "routing", "latency", "draws", "p50", "simulated p50", "error p50", "p95",
        "simulated p95", "error p95",
        "held",
    )  # fmt: skip
    rows = [
        (
            g.routing, g.latency, g.draws, g.live[0], g.simulated[0], f"{g.errors[0]:+.1%}",
            g.live[1], g.simulated[1], f"{g.errors[1]:+.1%}", "yes" if g.held else "no",
        )
        for g in gaps
    ]  # fmt: skip
    worst = {
        f"worst_{name}_error": max(abs(gap.errors[i]) for gap in gaps)
        for i, name in enumerate(("p50", "p95"))
    }
    floors = {f"{gap.routing} {gap.latency}": gap.held for gap in gaps}
    publish(title, head, rows, worst, floors)
