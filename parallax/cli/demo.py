"""`parallax demo`: the whole system at work, with a crash on the way, and its promises checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource

from parallax.cli.dashboards import (
    dashboard_address,
    dashboard_options,
    dashboard_ports,
    new_token,
)
from parallax.cli.load_figures import overloaded
from parallax.cli.load_report import report, watched_run
from parallax.cli.main import EXIT_FAILED
from parallax.cli.names import Number
from parallax.cli.options import start_logging
from parallax.producers.load.crashes import Crash
from parallax.producers.load.live import Live
from parallax.producers.load.workload import Lengths, Workload
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.services.system import Plan, System

NEXT = """Prompts in, answers out: `parallax up --engine echo`, and in another terminal
`parallax submit "Say hello" --stream`."""
SCALED_S = 100.0
WEIGHTS = {"gold": 4.0, "silver": 2.0, "bronze": 1.0}


@click.command()
@click.option("--duration", "duration_s", type=Number(2.0, 3_600.0), default=20.0,
              show_default=True, help="Seconds of load.")  # fmt: skip
@click.option("--workers", type=click.IntRange(2, 100), default=4, show_default=True,
              help="Worker processes.")  # fmt: skip
@click.option("--rate", type=Number(1.0, 10_000.0), default=90.0, show_default=True,
              help="Jobs per second.")  # fmt: skip
@click.option("--autoscale", is_flag=True, help="Show autoscaling instead: a step of four times "
              "the load brings workers up and later down.")  # fmt: skip
@click.option("--against-sim", is_flag=True, help="With --autoscale: simulate the same jobs, too, "
              "and hold both against each other.")  # fmt: skip
@dashboard_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def demo(
    duration_s: float, workers: int, rate: float, autoscale: bool, against_sim: bool,
    dashboard: bool, dashboard_port: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Three tenants with weights 4:2:1 overload workers that burn CPU; one worker is killed.

    Starts its own server, two schedulers and the workers, needs nothing else installed, and leaves
    nothing behind. Exits with 1 if a job was lost or finished twice. Ctrl-C ends it early and shows
    what is known so far.

    With --autoscale one worker serves a load that becomes four times as much for a while (100 s, if
    --duration says nothing else). Exits with 1 unless the fleet grew and shrank again with at most
    one change of direction, and first tokens were in time again 30 s after the step.
    """
    start_logging()
    clock = SystemClock()
    if autoscale or against_sim:
        _demonstrate_scaling(duration_s, as_json, against_sim, clock)
    (port,) = dashboard_ports(dashboard, dashboard_port, 1)
    plan = Plan(
        workers, 2, ("--engine", "cpu", "--profile", "laptop", "--speed", "0.2"),
        dashboard_port=port, dashboard_token=new_token(),
    )  # fmt: skip
    workload = Workload(
        rate, dict.fromkeys(WEIGHTS, 1.0), Lengths(400), Lengths(120, most=512), sessions=20,
        prefix="demo",
    )  # fmt: skip
    count = int(rate * duration_s)
    _say(f"Starting an embedded server, 2 schedulers and {workers} workers ...")
    logs = Path(os.devnull)
    with (
        Orders() as orders,
        System(plan, clock, ephemeral=True, restart=True, logs=logs, orders=orders) as system,
    ):
        if address := dashboard_address(plan):
            _say(f"Dashboard, while this lasts: {address}")
        _say(f"Offering {count} jobs of 3 tenants in {duration_s:g} s; weights {_weights()}.")
        _say("Halfway a worker is killed with SIGKILL; what it held must not be lost.")
        crashes = [Crash("worker", count // 2)]
        live = Live(system.url, "main", clock, system, crashes, WEIGHTS, orders=orders)
        run = watched_run(live, workload.jobs(count=count))
        kept = report(run, live, as_json, overloaded(run, duration_s))
    _say(_verdict(kept, run.interrupted))
    _say(NEXT)
    sys.exit(orders.code or (0 if kept else EXIT_FAILED))


def _demonstrate_scaling(
    duration_s: float, as_json: bool, against_sim: bool, clock: SystemClock
) -> NoReturn:
    """Run the other demo, and end with its exit code."""
    from parallax.cli.demo_autoscale import demonstrate

    source = click.get_current_context().get_parameter_source("duration_s")
    seconds = SCALED_S if source is ParameterSource.DEFAULT else duration_s
    with Orders() as orders:
        shown = demonstrate(seconds, as_json, against_sim, clock, orders)
    sys.exit(orders.code or (0 if shown else EXIT_FAILED))


def _verdict(kept: bool, interrupted: bool) -> str:
    if not kept:
        return "A promise was broken: see above."
    return "No promise was broken so far." if interrupted else "Every promise was kept."


def _weights() -> str:
    return ":".join(f"{weight:g}" for weight in WEIGHTS.values())


def _say(text: str) -> None:
    click.echo(text, err=True)
