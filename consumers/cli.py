"""`parallax worker`: one worker process."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from click.core import ParameterSource

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.cli.engine_options import ENGINE, ENGINES_HELP, PORT, PROFILE, SPEED
from parallax.cli.leader import leader_of
from parallax.cli.options import (
    metrics_host_option,
    parsed_choice,
    redis_options,
    server_url,
    start_logging,
)
from parallax.cli.silence import said_after
from parallax.consumers.engines.registry import build_engine
from parallax.consumers.trouble import parsed_failures, parsed_slowdown
from parallax.consumers.upstream.backend import METAVAR, parsed_backend
from parallax.consumers.worker import Worker
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput
from parallax.core.model import check_model, check_name
from parallax.core.roles import BOTH
from parallax.core.settings import WorkerSettings
from parallax.services import event_loop
from parallax.services.clock import SystemClock
from parallax.services.exporter import Exporter
from parallax.services.orders import Orders
from parallax.telemetry.tracing import configured
from parallax.telemetry.working import WorkingMetrics

log = logging.getLogger(__name__)

_DEFAULTS = WorkerSettings()
_DRAIN_POLL_S = 0.2


@click.command()
@redis_options
@click.option("--name", default="worker", show_default=True,
              help="Name; a random part is added: every start is a new worker.")  # fmt: skip
@click.option("--engine", type=ENGINE, default="cpu", show_default=True,
              help=f"What runs inside ({ENGINES_HELP}).")  # fmt: skip
@click.option("--backend", metavar=METAVAR, help="Server that speaks OpenAI's API, in front of "
              "which this worker stands: http://HOST:PORT/v1[,name=..][,kind=..][,slots=..]"
              "[,model=..][,key-env=VARIABLE]; see docs/engines.md.")  # fmt: skip
@click.option("--profile", type=PROFILE, default="laptop", show_default=True,
              help="Model and hardware that the engine imitates, or a file of `parallax "
              "calibrate`.")  # fmt: skip
@click.option(
    "--slots",
    type=click.IntRange(1, 100_000),
    help="Requests that run at once [default: the profile's].",
)
@click.option("--speed", type=SPEED, default=1.0, show_default=True,
              help="How many times faster than the profile the engine is.")  # fmt: skip
@click.option("--weight", type=float, default=1.0, show_default=True,
              help="Share of the jobs under weighted round robin.")  # fmt: skip
@click.option("--role", type=click.Choice([BOTH, "prefill", "decode"]), default=BOTH,
              show_default=True, help="What of a job it does.")  # fmt: skip
@click.option("--model", "models", multiple=True, metavar="NAME", help="Model that it serves; may "
              "be repeated [default: what the server says, or the engine's name].")  # fmt: skip
@click.option("--version", default="", help="Version it serves; second attempts stay within one.")
@click.option("--batching", default="continuous", show_default=True, metavar="NAME[:KEY=VALUE]",
              help="Batching policy: who joins the engine's batch, and when.")  # fmt: skip
@click.option("--slow", default="", metavar="SHARE:FACTOR[:SEED]",
              help="Make a share of executions slower, to try out hedging: 0.02:10.")  # fmt: skip
@click.option("--fail", default="", metavar="SHARE[:SEED]",
              help="Let a share of executions fail, to try out retries: 0.02.")  # fmt: skip
@click.option("--crash-on", default="", metavar="PREFIX",
              help="Die of jobs whose id begins so, to try out dead letters.")  # fmt: skip
@click.option("--history", type=click.Path(path_type=Path, dir_okay=False),
              help="Append what it reads, begins and ends to this file: JSON lines.")  # fmt: skip
@click.option("--heartbeat", "heartbeat_s", type=float, default=_DEFAULTS.heartbeat_s,
              show_default=True, help="Seconds the heartbeat lasts without renewal.")  # fmt: skip
@click.option("--drain", "drain_s", type=float, default=_DEFAULTS.drain_s, show_default=True,
              help="Seconds running jobs may take to end after SIGTERM.")  # fmt: skip
@metrics_host_option
@click.option("--metrics-port", type=PORT, help="Serve /metrics and /healthz on this port.")
@click.option("--verbose", is_flag=True, help="Log more.")
def worker(
    redis: str | None,
    cell: str,
    home: Path | None,
    name: str,
    engine: str,
    backend: str | None,
    profile: str,
    slots: int | None,
    speed: float,
    weight: float,
    role: str,
    models: tuple[str, ...],
    version: str,
    batching: str,
    slow: str,
    fail: str,
    crash_on: str,
    history: Path | None,
    heartbeat_s: float,
    drain_s: float,
    metrics_host: str,
    metrics_port: int | None,
    verbose: bool,
) -> None:
    """Run one worker. SIGTERM drains it: it ends what runs and gives the rest back."""
    if backend is not None:
        engine, name = "openai", _name_before(backend, name, role)
    check_name("--name", name)
    for model in models:
        check_model("--model", model)
    clock = SystemClock()
    settings = WorkerSettings(heartbeat_s=heartbeat_s, drain_s=drain_s)
    built = build_engine(
        engine, profile=profile, slots=slots, speed=speed, clock=clock,
        batching=parsed_choice("batching", batching), backend=backend or "",
    )  # fmt: skip
    url = server_url(redis, home)
    start_logging(verbose)
    metrics = WorkingMetrics()
    duty = Worker(
        name, (AsyncLink.to(url), Link.to(url)), Keys(cell), built, settings, clock,
        weight=weight, metrics=metrics, role=role, version=version, slowdown=parsed_slowdown(slow),
        failures=parsed_failures(fail), crash_on=crash_on, history=history, models=models,
        tracer=configured("worker", cell),
    )  # fmt: skip
    with (
        Orders(duty.drain) as orders,
        Exporter(metrics.registry, metrics_port, metrics_host),
    ):
        duty.start()
        with said_after(lambda: _leaderless(CellAddress(cell, url)), tell=log.warning):
            event_loop.run(duty.live(orders.now.is_set))


def _name_before(backend: str, name: str, role: str) -> str:
    """Check the words for a server, and return the name of the worker in front of it."""
    given = click.get_current_context().get_parameter_source
    if given("engine") is ParameterSource.COMMANDLINE:
        raise InvalidInput("--engine", "with --backend", "either --engine or --backend")
    if role != BOTH:
        raise InvalidInput("--role", role, f"{BOTH}: a server computes prompts and answers itself")
    own = parsed_backend(backend).name
    return own if own and given("name") is ParameterSource.DEFAULT else name


def _leaderless(place: CellAddress) -> list[str]:
    """Say that nobody gives this worker anything to do, if so it is."""
    told = f"no scheduler leads cell {place.name}: nothing comes until `parallax scheduler` runs"
    return [] if leader_of(place) else [told]
