"""`parallax up`: a whole system on one machine, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from parallax.cli.dashboards import (
    dashboard_address,
    dashboard_options,
    dashboard_ports,
    new_token,
)
from parallax.cli.documents import UpLine
from parallax.cli.engine_options import PORT, SERVER, engine_arguments, engine_options
from parallax.cli.options import (
    metrics_host_option,
    objective_arguments,
    objectives_from,
    policies_from,
    policy_arguments,
    policy_options,
    slo_options,
    start_logging,
)
from parallax.cli.output import say, write_json
from parallax.cli.up_renewal import reload_option, renew_if_asked
from parallax.cli.up_scaling import autoscale_options, first_and_most, scaling_from, scaling_of
from parallax.cli.where import Where, cells_options
from parallax.consumers.upstream.backend import METAVAR
from parallax.consumers.upstream.opening import checked
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int, check_model
from parallax.core.secrets import redacted
from parallax.services.autoscaler import ScalingSettings
from parallax.services.clock import SystemClock
from parallax.services.orders import Interrupted, Orders
from parallax.services.system import Plan, System, free_port

_TICK_S = 0.2
#: The engine of workers behind a gateway, if nobody says otherwise, and where that listens.
ANSWERING, GATEWAY_PORT = "echo", 8080


@click.command()
@cells_options
@policy_options
@click.option("--workers", type=click.IntRange(1, 1_000), default=4, show_default=True,
              help="Worker processes of each cell.")  # fmt: skip
@click.option("--schedulers", type=click.IntRange(1, 10), default=2, show_default=True,
              help="Scheduler processes of each cell: one leads, the others stand by.")  # fmt: skip
@engine_options("cpu", "laptop")
@click.option("--backend", "backends", multiple=True, metavar=METAVAR, help="Server that speaks "
              "OpenAI's API: a worker in front of each, in place of engines that imitate. "
              "http://HOST:PORT/v1[,name=..][,kind=..][,slots=..][,model=..][,key-env=VARIABLE]; "
              "may be repeated.")  # fmt: skip
@click.option("--model", "models", multiple=True, metavar="NAME[+NAME]...", help="Model that a "
              "worker serves, or several; may be repeated: the workers get them in turn [default: "
              "the engine's name].")  # fmt: skip
@click.option("--server-binary", type=click.Path(path_type=Path, dir_okay=False),
              help="valkey-server or redis-server to embed [default: the one that "
              "PARALLAX_SERVER_BINARY names, or the packaged Valkey].")  # fmt: skip
@slo_options
@metrics_host_option
@click.option("--metrics-port", type=PORT, help="Serve /metrics: the first scheduler on this port, "
              "on those after it the other schedulers, the workers, the gateway, and what "
              "tells of the whole cell (`parallax exporter`).")  # fmt: skip
@click.option("--gateway", "gateway", is_flag=True, help="Serve the OpenAI API on this machine; "
              "the engines are then echo, unless --engine says otherwise.")  # fmt: skip
@click.option("--gateway-port", type=PORT, help="Port of the gateway, of other cells those "
              f"after it; implies --gateway [default: {GATEWAY_PORT}, or a free one].")  # fmt: skip
@dashboard_options
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document for each cell, a line each."
)
@autoscale_options
@reload_option
def up(
    where: Where,
    workers: int,
    schedulers: int,
    engine: str,
    profile: str,
    engine_speed: float,
    backends: tuple[str, ...],
    models: tuple[str, ...],
    durability: str,
    server_binary: Path | None,
    metrics_host: str,
    metrics_port: int | None,
    gateway: bool,
    gateway_port: int | None,
    dashboard: bool,
    dashboard_port: int | None,
    as_json: bool,
    autoscale: str | None,
    scaling: tuple[str, ...],
    **options: Any,
) -> None:
    """Run Redis (unless --redis names one), schedulers and workers until Ctrl-C.

    Processes that end unasked are started again. Ctrl-C drains: what runs is finished, what waits
    stays in the server's files for the next start; a second one ends all of it now. With --cells
    each cell has schedulers and workers of its own; those without a URL share the server.
    """
    if backends:
        engine, workers = SERVER, _in_front_of(backends)
        if models:
            raise InvalidInput("--model", "with --backend", "a server says itself what it serves")
    scaled = scaling_from(autoscale, scaling)
    workers, most = first_and_most(scaled, workers)
    gateway = gateway or gateway_port is not None
    count = most + schedulers + gateway + 1  # the last one is the exporter's
    if metrics_port is not None:
        check_int("--metrics-port", metrics_port, 1, 65_536 - count * len(where.named))
    ports = _gateway_ports(gateway, gateway_port, len(where.named))
    views = dashboard_ports(dashboard, dashboard_port, len(where.named))
    if gateway and not backends and _is_default("engine"):
        engine = ANSWERING
    own = _workers_of(backends) or _serving(models, workers)
    worker_arguments = () if backends else engine_arguments(engine, profile, engine_speed)
    judged = objective_arguments(objectives_from(options))
    scheduler_arguments = [*judged, *policy_arguments(policies_from(options))]
    start_logging()
    plans = [
        Plan(
            workers, schedulers, worker_arguments, scheduler_arguments, durability, place.name,
            None if metrics_port is None else metrics_port + number * count, metrics_host,
            ports[number], own, views[number], new_token(), most,
        )
        for number, place in enumerate(where.named)
    ]  # fmt: skip

    def greet(systems: list[System]) -> None:
        (_write if as_json else _greet)(where, systems, workers, engine)

    sys.exit(_run(plans, where, server_binary, greet, scaled, as_json))


def _run(
    plans: Sequence[Plan], where: Where, binary: Path | None,
    greet: Callable[[list[System]], None], scaled: ScalingSettings | None, as_json: bool,
) -> int:  # fmt: skip
    """Run these systems until Ctrl-C; return the exit code."""
    systems = list[System]()
    with Orders() as orders, ExitStack() as running:
        try:
            for system in _systems(plans, where, orders, binary):
                systems.append(running.enter_context(system))
            greet(systems)
            scale = running.enter_context(scaling_of(systems, scaled))
            while not orders.stop.wait(_TICK_S):
                renew_if_asked(systems)
                for system in systems:
                    system.watch()
                scale()
        except Interrupted:
            pass
        running.callback(_drain, systems, as_json)
    return orders.code if orders.now.is_set() else 0


def _systems(
    plans: Sequence[Plan], where: Where, orders: Orders, binary: Path | None
) -> Iterator[System]:
    """Yield a system for each cell, to be entered before the next: the first starts the server."""
    shared = where.redis
    for plan, place in zip(plans, where.named, strict=True):
        url = place.url or shared
        system = System(
            plan, SystemClock(), url=url, home=where.home, orders=orders, binary=binary
        )  # fmt: skip
        yield system
        shared = shared or (None if url else system.url)


def _gateway_ports(wanted: bool, port: int | None, cells: int) -> list[int | None]:
    """Return the port of each cell's gateway; None where none is wanted."""
    if port is None and not wanted:
        return [None] * cells
    if port is None:
        port = free_port(GATEWAY_PORT) if cells == 1 else GATEWAY_PORT
    check_int("--gateway-port", port, 1, 65_536 - cells)
    return [port + number for number in range(cells)]


def _is_default(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.DEFAULT


def _address(plan: Plan) -> str | None:
    port = plan.gateway_port
    return None if port is None else f"http://127.0.0.1:{port}/v1"


def _in_front_of(backends: tuple[str, ...]) -> int:
    """Check the servers, before any process is started; return how many workers they need."""
    given = click.get_current_context().get_parameter_source
    for name in ("workers", "engine"):
        if given(name) is ParameterSource.COMMANDLINE:
            raise InvalidInput(f"--{name}", "with --backend", f"either --{name} or --backend")
    for backend in backends:
        checked(backend)
    return len(backends)


def _workers_of(backends: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return what the worker in front of each server is told alone."""
    names = [checked(backend).name for backend in backends]
    return [
        ("--backend", backend, *(("--name", name) if name else ()))
        for backend, name in zip(backends, names, strict=True)
    ]


def _serving(models: tuple[str, ...], workers: int) -> list[tuple[str, ...]]:
    """Return which models each worker is told to serve: those of the list, in turn."""
    told = []
    for names in models:
        for name in names.split("+"):
            check_model("--model", name)
        told.append(tuple(part for name in names.split("+") for part in ("--model", name)))
    return [told[n % len(told)] for n in range(workers)] if told else []


def _drain(systems: list[System], silent: bool) -> None:
    """Ask the processes of all cells to end, before the first is waited for."""
    if not silent:
        click.echo("draining")
    for system in systems:
        system.processes.drain()


def _write(_: Where, systems: list[System], workers: int, engine: str) -> None:
    for system in systems:
        address = _address(system.plan)
        line = UpLine(
            system.plan.cell, redacted(system.url), workers, engine, address,
            dashboard_address(system.plan),
        )  # fmt: skip
        write_json(line, indent=None)


def _greet(where: Where, systems: list[System], workers: int, engine: str) -> None:
    names = ",".join(place.name for place in where.named)
    several = f" --cells {names}" if len(systems) > 1 else ""
    for system in systems:
        of = f" in cell {system.plan.cell}" if several else ""
        what = f"{workers} workers ({engine})"
        say(f"Parallax is up: {what}{of}, Redis at {redacted(system.url)}")
        if address := _address(system.plan):
            say(f"OpenAI API{of}: {address}")
        if address := dashboard_address(system.plan):
            say(f"dashboard{of}: {address}")
        if (port := system.plan.exporter_port) is not None:
            first, host = system.plan.metrics_port, system.plan.metrics_host
            say(f"metrics{of}: ports {first} to {port} of {host}; the whole cell on {port}")
    asked = (
        '"Say hello" --stream'
        if engine in ("echo", SERVER)
        else "--prompt-tokens 100 --max-tokens 50"
    )
    click.echo(f"try: parallax submit{several} {asked}   (Ctrl-C stops)")
