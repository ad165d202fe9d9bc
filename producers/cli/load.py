"""`parallax loadgen | replay`: loads in real time."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from parallax.cli.engine_options import engine_arguments, engine_options
from parallax.cli.load_figures import overloaded
from parallax.cli.load_report import report, watched_run
from parallax.cli.main import EXIT_FAILED
from parallax.cli.models import check_served
from parallax.cli.names import FormatName, Number
from parallax.cli.options import (
    found_url,
    policies_from,
    policy_arguments,
    policy_options,
    start_logging,
)
from parallax.cli.plots import draw, plot_option
from parallax.cli.silence import silence_explained
from parallax.cli.where import Where, cells_options
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_DEADLINE_S, MAX_TOKENS
from parallax.producers.cli.load_charts import live_charts
from parallax.producers.load.crashes import parsed_crashes
from parallax.producers.load.live import Live
from parallax.producers.load.traces import recorded
from parallax.producers.load.workload import Lengths, Workload, parsed_shares
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.services.system import Plan, System

F = TypeVar("F", bound=Callable[..., Any])


def live_options(command: F) -> F:
    """Add what `loadgen` and `replay` share: the system to run against, and what to do to it."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        plot_option,
        click.option("--verbose", is_flag=True, help="Show the logs of the processes."),
        click.option("--kill", "kills", multiple=True, metavar="WHO[@WHEN]",
                     help="Kill -9 a worker, the scheduler or the server, at so many jobs or %."),
        engine_options("clock", "llama3-8b-a100"),
        click.option("--workers", type=click.IntRange(1, 1_000),
                     help="Start a private system with so many workers "
                     "[default: use the one that runs; if none does, start 8]."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextmanager
def _system(
    where: Where, options: dict[str, Any], orders: Orders
) -> Iterator[tuple[tuple[CellAddress, ...], System | None]]:
    """Give the cells to use: those that run, or that of a private system for this run."""
    workers = options.pop("workers")
    engine, profile = options.pop("engine"), options.pop("profile")
    speed, durability = options.pop("engine_speed"), options.pop("durability")
    verbose = options.pop("verbose")
    policies = policies_from(options)
    first, *others = where.named
    if others:
        if workers:
            allowed = "leave it away: a private system has one cell (see `parallax up --cells`)"
            raise InvalidInput("--workers", workers, allowed)
        yield where.places(), None
        return
    if workers:
        _refuse_server(first)
    url = None if workers else found_url(first.url or where.redis, where.home)
    if url is not None:
        yield (CellAddress(first.name, url),), None
        return
    plan = Plan(
        workers=workers or 8,
        worker_arguments=engine_arguments(engine, profile, speed),
        scheduler_arguments=policy_arguments(policies),
        durability=durability,
        cell=first.name,
    )
    logs = None if verbose else Path(os.devnull)
    with System(plan, SystemClock(), ephemeral=True, logs=logs, orders=orders) as system:
        yield (CellAddress(first.name, system.url),), system


def _refuse_server(cell: CellAddress) -> None:
    """Refuse flags that name a server beside --workers, which starts one of its own.

    What the environment or the file names is for other commands, and no contradiction.
    """
    source = click.get_current_context().get_parameter_source
    for name, told in (("redis", True), ("cells", bool(cell.url))):
        if told and source(name) is ParameterSource.COMMANDLINE:
            allowed = "leave it away: --workers starts a private system with a server of its own"
            raise InvalidInput(f"--{name}", "(a server)", allowed)


@click.command()
@cells_options
@policy_options
@live_options
@click.option(
    "--rate",
    type=Number(0.001, 1e6),
    default=20.0,
    show_default=True,
    help="Jobs per second in all.",
)
@click.option("--duration", "duration_s", type=Number(0.01, 86_400.0), default=30.0,
              show_default=True, help="Seconds of load.")  # fmt: skip
@click.option("--tenants", default="default", show_default=True, metavar="NAME[:SHARE],...",
              help="Who sends, and how much of the load.")  # fmt: skip
@click.option("--weights", default="", metavar="NAME:WEIGHT,...",
              help="What tenants are due, in a system that is started here.")  # fmt: skip
@click.option("--prompt-tokens", type=Number(1.0, MAX_TOKENS), default=256.0, show_default=True,
              help="Mean length.")  # fmt: skip
@click.option("--output-tokens", type=Number(1.0, MAX_TOKENS), default=64.0, show_default=True,
              help="Mean length.")  # fmt: skip
@click.option("--length-cv", type=Number(0.0, 20.0), default=1.0, show_default=True,
              help="Standard deviation of lengths over their mean.")  # fmt: skip
@click.option("--arrival-cv", type=Number(0.0, 20.0), default=1.0, show_default=True,
              help="Variation of the gaps: 1 is Poisson, above come bursts.")  # fmt: skip
@click.option("--sessions", type=click.IntRange(0, 1_000_000), default=0, show_default=True,
              help="Sessions per tenant.")  # fmt: skip
@click.option("-m", "--model", default="", help="Model to ask, which workers of a cell that runs "
              "must serve [default: any].")  # fmt: skip
@click.option("--deadline", "deadline_s", type=Number(0.001, MAX_DEADLINE_S),
              help="Seconds until a job is useless.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63), default=0, show_default=True,
              help="Seed of the load.")  # fmt: skip
def loadgen(
    where: Where,
    rate: float,
    duration_s: float,
    tenants: str,
    weights: str,
    prompt_tokens: float,
    output_tokens: float,
    length_cv: float,
    arrival_cv: float,
    sessions: int,
    model: str,
    deadline_s: float | None,
    seed: int,
    kills: tuple[str, ...],
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Offer an open-loop load: jobs come at their times, whether or not earlier ones are done.

    Ctrl-C ends it early and shows the figures so far.
    """
    workload = Workload(
        rate,
        parsed_shares(tenants),
        Lengths(prompt_tokens, length_cv),
        Lengths(output_tokens, length_cv, most=1_024),
        arrival_cv,
        sessions,
        deadline_s,
        f"load-{secrets.token_hex(3)}",
        seed,
        model,
    )
    if next(workload.jobs(duration_s=duration_s), None) is None:
        raise InvalidInput("--duration", duration_s, f"longer: at {rate:g}/s no job comes in it")
    crashes = parsed_crashes(kills, int(rate * duration_s))
    due = parsed_shares(weights) if weights else {}
    start_logging()
    with Orders() as orders, _system(where, options, orders) as (places, system):
        check_served(model, places)
        live = Live.of(places, SystemClock(), system, crashes, due, orders)
        with silence_explained(places):
            run = watched_run(live, workload.jobs(duration_s=duration_s))
        if plot is not None:
            told = f"{rate:g} jobs/s for {duration_s:g} s"
            draw(plot, "Parallax: a load in real time", told, live_charts(run))
        kept = report(run, live, as_json, overloaded(run, duration_s))
    sys.exit(orders.code or (0 if kept else EXIT_FAILED))


@click.command()
@cells_options
@policy_options
@live_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--speed", type=Number(0.001, 100_000.0), default=1.0, show_default=True,
              help="How many times faster than recorded the jobs come.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Only the first so many jobs.")
@click.option("--tenants", default="", metavar="NAME[:WEIGHT],...",
              help="Tenants that the jobs are dealt to, in turn; what they are due, in a "
              "system that is started here "
              "[default: the trace's own].")  # fmt: skip
@click.option("--format", "form", type=FormatName(), default="", metavar="NAME",
              help="Format of the trace [default: found out].")  # fmt: skip
def replay(
    where: Where,
    file: Path,
    speed: float,
    limit: int | None,
    tenants: str,
    form: str,
    kills: tuple[str, ...],
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Replay a recorded trace in real time, in any format that `parallax trace` knows.

    Without --redis and with no system running, a private one is started for as long as the replay.
    Ctrl-C ends it early and shows the figures so far.
    """
    shares = parsed_shares(tenants) if tenants else {}
    weights = {name: share for name, share in shares.items() if share != 1.0}
    load = recorded(file, limit, tuple(shares), f"replay-{secrets.token_hex(3)}", form)
    total = sum(1 for _ in recorded(file, limit, form=form)) if kills else 0
    crashes = parsed_crashes(kills, total)
    start_logging()
    with Orders() as orders, _system(where, options, orders) as (places, system):
        live = Live.of(places, SystemClock(), system, crashes, weights, orders)
        with silence_explained(places):
            run = watched_run(live, load, speed)
        if plot is not None:
            told = f"{file.name}, {speed:g} times as fast as recorded"
            draw(plot, "Parallax: a trace in real time", told, live_charts(run))
        kept = report(run, live, as_json, None)
    sys.exit(orders.code or (0 if kept else EXIT_FAILED))
