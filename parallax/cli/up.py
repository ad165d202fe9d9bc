"""`parallax up`: a whole system on one machine, until Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from parallax.cli.options import (
    metrics_host_option,
    policies_from,
    policy_arguments,
    policy_options,
    start_logging,
)
from parallax.cli.where import Where, cells_options
from parallax.core.model import check_int
from parallax.core.secrets import redacted
from parallax.services.clock import SystemClock
from parallax.services.orders import Interrupted, Orders
from parallax.services.system import Plan, System

_TICK_S = 0.2


@click.command()
@cells_options
@policy_options
@click.option(
    "--workers", type=int, default=4, show_default=True, help="Worker processes of each cell."
)
@click.option("--schedulers", type=int, default=2, show_default=True,
              help="Scheduler processes of each cell: one leads, the others stand by.")  # fmt: skip
@click.option("--engine", default="cpu", show_default=True, help="cpu, clock or noop.")
@click.option("--profile", default="laptop", show_default=True, help="What the engine imitates.")
@click.option("--engine-speed", type=float, default=1.0, show_default=True,
              help="How many times faster than the profile.")  # fmt: skip
@click.option("--durability", default="everysec", show_default=True,
              help="Of the embedded server: everysec, or always.")  # fmt: skip
@click.option("--server-binary", type=click.Path(path_type=Path, dir_okay=False),
              help="valkey-server or redis-server to embed [default: the one that "
              "PARALLAX_SERVER_BINARY names, or the packaged Valkey].")  # fmt: skip
@metrics_host_option
@click.option("--metrics-port", type=int, help="Serve /metrics: the first scheduler on this port, "
              "the other schedulers and then the workers on those after it.")  # fmt: skip
def up(
    where: Where,
    workers: int,
    schedulers: int,
    engine: str,
    profile: str,
    engine_speed: float,
    durability: str,
    server_binary: Path | None,
    metrics_host: str,
    metrics_port: int | None,
    **options: Any,
) -> None:
    """Run Redis (unless --redis names one), schedulers and workers until Ctrl-C.

    Processes that end unasked are started again. Ctrl-C drains: what runs is finished, what waits
    stays in the server's files for the next start; a second one ends all of it now. With --cells
    each cell has schedulers and workers of its own; those without a URL share the server.
    """
    check_int("--workers", workers, 1, 1_000)
    check_int("--schedulers", schedulers, 1, 10)
    count = workers + schedulers
    if metrics_port is not None:
        check_int("--metrics-port", metrics_port, 1, 65_535 - count * len(where.named))
    worker_arguments = ("--engine", engine, "--profile", profile, "--speed", str(engine_speed))
    scheduler_arguments = policy_arguments(policies_from(options))
    start_logging()
    systems, shared = list[System](), where.redis
    with Orders() as orders, ExitStack() as running:
        try:
            for number, place in enumerate(where.named):
                port = None if metrics_port is None else metrics_port + number * count
                plan = Plan(
                    workers, schedulers, worker_arguments, scheduler_arguments, durability,
                    place.name, port, metrics_host,
                )  # fmt: skip
                url = place.url or shared
                system = System(
                    plan, SystemClock(), url=url, home=where.home, orders=orders,
                    binary=server_binary,
                )  # fmt: skip
                systems.append(running.enter_context(system))
                shared = shared or (None if url else system.url)  # the first starts it for all
            _greet(where, systems, f"{workers} workers ({engine})")
            while not orders.stop.wait(_TICK_S):
                for system in systems:
                    system.watch()
        except Interrupted:
            pass
        running.callback(_drain, systems)
    sys.exit(orders.code if orders.now.is_set() else 0)


def _drain(systems: list[System]) -> None:
    """Ask the processes of all cells to end, before the first is waited for."""
    click.echo("draining")
    for system in systems:
        system.fleet.drain()


def _greet(where: Where, systems: list[System], what: str) -> None:
    names = ",".join(place.name for place in where.named)
    several = f" --cells {names}" if len(systems) > 1 else ""
    for system in systems:
        of = f" in cell {system.plan.cell}" if several else ""
        click.echo(f"Parallax is up: {what}{of}, Redis at {redacted(system.url)}")
    click.echo(
        f"try: parallax submit{several} --prompt-tokens 100 --max-tokens 50   (Ctrl-C stops)"
    )
