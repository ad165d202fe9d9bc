"""`parallax bench`: what can be measured on this machine in a few minutes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import click
from click.core import ParameterSource

from parallax.cli.lab_documents import Gap
from parallax.cli.main import EXIT_MISSED
from parallax.cli.names import Number, PolicyName
from parallax.cli.output import say, write_json
from parallax.cli.plots import draw, plot_option
from parallax.consumers.upstream.backend import METAVAR
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.opening import checked
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.core.model import check_int, check_number
from parallax.core.quantiles import quantile
from parallax.engine.profiles import profile_named
from parallax.lab import against_sim
from parallax.lab.against_backends import gaps as gaps_of
from parallax.lab.against_backends import known, load_for
from parallax.lab.against_backends import measured as measured_servers
from parallax.lab.against_sim import LATENCIES, TOLERANCES, Setting, every_routing, hops, measured
from parallax.lab.report import publish
from parallax.policies.registry import ROUTING
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.sim.calibration.profiles import known_profile
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
              metavar="PROFILE[,PROFILE]...", help="Model and hardware that the engines imitate, "
              "or a file; with --backend those of the servers in turn [then: measured "
              "first].")  # fmt: skip
@click.option("--backend", "backends", multiple=True, metavar=METAVAR, help="Server that speaks "
              "OpenAI's API, in place of engines that imitate; may be repeated.")  # fmt: skip
@click.option("--load", "share", type=Number(0.01, 2.0), default=0.5, show_default=True,
              help="With --backend: let jobs come as fast as uses that much of the servers, "
              "unless --rate-scale is given.")  # fmt: skip
@click.option("--calibrate-seconds", type=Number(5.0, 600.0), default=40.0, show_default=True,
              help="With --backend and no --profile: measure the servers so long.")  # fmt: skip
@click.option("--longest", type=click.IntRange(32, 10**7), help="With --backend: shorten prompts "
              "and answers so that the longest job has so many tokens [default: what the servers "
              "take].")  # fmt: skip
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
    backends: tuple[str, ...],
    share: float,
    calibrate_seconds: float,
    longest: int | None,
    seconds: float,
    rate_scale: float,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure how far the simulator is from the live system, policy by policy.

    WORKLOAD is a trace or a made-up load. Exits with 3 if a latency is off by more than 5 % at the
    median or 10 % at the 95th percentile; of real servers (--backend), whose prompts and answers
    are shortened to what they take, by more than 10 % or 20 %. Where one run says little it takes
    several. Ctrl-C ends it without a result.
    """
    if not against_sim:
        allowed = "it must be given: nothing else can be measured"
        raise InvalidInput("--against-sim", None, allowed)
    if backends:
        check_number("--seconds", seconds, 1.0, 86_400.0)
        asked = Asked(
            workload, routings, share, calibrate_seconds, seconds, rate_scale, seed, longest
        )  # fmt: skip
        _of_servers(asked, backends, profile, as_json=as_json)
        return
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of real servers."""

    workload: str
    routings: tuple[str, ...]
    share: float
    calibrate_s: float
    seconds: float
    rate_scale: float
    seed: int
    longest: int | None


def _of_servers(asked: Asked, backends: Sequence[str], profile: str, *, as_json: bool) -> None:
    """Measure how far the simulator is from real servers."""
    given = click.get_current_context().get_parameter_source
    profiles = None
    if given("profile") is not ParameterSource.DEFAULT:
        profiles = [known_profile("--profile", one.strip()) for one in profile.split(",")]
    for backend in backends:
        checked(backend)
    rate = None if given("rate_scale") is ParameterSource.DEFAULT else asked.rate_scale
    clock = SystemClock()

    def told(text: str) -> None:
        say(text, err=True)

    with Orders() as orders:
        try:
            if profiles:
                of = [profiles[n % len(profiles)] for n in range(len(backends))]
                servers = [known(*pair) for pair in zip(backends, of, strict=True)]
            else:
                servers = measured_servers(backends, asked.calibrate_s, clock, orders, told)
        except Failure as failure:
            raise ParallaxError(f"a server cannot be measured: {failure}") from None
        jobs = load_for(
            asked.workload, servers, asked.share, rate, asked.seconds, asked.seed, asked.longest
        )
        gaps = list[against_sim.Gap]()
        for routing in asked.routings or ("",):
            gaps += gaps_of(servers, routing, jobs, asked.seed, clock, orders)
    title = f"{len(jobs)} jobs, {len(servers)} servers: seconds, live and simulated"
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
