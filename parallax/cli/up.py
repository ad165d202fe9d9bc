"""`parallax up`: a whole system on one machine, until Ctrl-C."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import click

from parallax.cli.options import (
    policies_from,
    policy_arguments,
    policy_options,
    redis_options,
    start_logging,
)
from parallax.core.model import check_int
from parallax.core.secrets import redacted
from parallax.services.clock import SystemClock
from parallax.services.service import stop_on_signals
from parallax.services.system import Plan, System

_TICK_S = 0.2


@click.command()
@redis_options
@policy_options
@click.option("--workers", type=int, default=4, show_default=True, help="Worker processes.")
@click.option("--schedulers", type=int, default=2, show_default=True,
              help="Scheduler processes: one leads, the others stand by.")  # fmt: skip
@click.option("--engine", default="cpu", show_default=True, help="cpu, clock or noop.")
@click.option("--profile", default="laptop", show_default=True, help="What the engine imitates.")
@click.option("--engine-speed", type=float, default=1.0, show_default=True,
              help="How many times faster than the profile.")  # fmt: skip
@click.option("--durability", default="everysec", show_default=True,
              help="Of the embedded server: everysec, or always.")  # fmt: skip
@click.option("--metrics-port", type=int, help="Serve /metrics: the first scheduler on this port, "
              "the other schedulers and then the workers on those after it.")  # fmt: skip
def up(
    redis: str | None,
    cell: str,
    home: Path | None,
    workers: int,
    schedulers: int,
    engine: str,
    profile: str,
    engine_speed: float,
    durability: str,
    metrics_port: int | None,
    **options: Any,
) -> None:
    """Run Redis (unless --redis names one), schedulers and workers until Ctrl-C.

    Processes that end unasked are started again. Ctrl-C drains: what runs is finished, what waits
    stays in the server's files for the next start.
    """
    check_int("--workers", workers, 1, 1_000)
    check_int("--schedulers", schedulers, 1, 10)
    if metrics_port is not None:
        check_int("--metrics-port", metrics_port, 1, 65_535 - workers - schedulers)
    plan = Plan(
        workers,
        schedulers,
        ("--engine", engine, "--profile", profile, "--speed", str(engine_speed)),
        policy_arguments(policies_from(options)),
        durability,
        cell,
        metrics_port,
    )
    start_logging()
    stop = threading.Event()
    with System(plan, SystemClock(), url=redis, home=home) as system:
        stop_on_signals(stop.set, stop.set)
        click.echo(f"Parallax is up: {workers} workers ({engine}), Redis at {redacted(system.url)}")
        click.echo("try: parallax submit --prompt-tokens 100 --max-tokens 50   (Ctrl-C stops)")
        while not stop.wait(_TICK_S):
            system.watch()
        click.echo("draining")
