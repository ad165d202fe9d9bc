"""`parallax trace stats | convert | sample`: what a load is like, and loads in one format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import click

from parallax.cli.lab_documents import TraceFormat
from parallax.cli.names import FormatName, WorkloadName
from parallax.cli.output import facts, show_all
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int
from parallax.sim.spec import WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.traces.formats import generic
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.sample import thinned, window
from parallax.sim.workloads.catalog import load

F = TypeVar("F", bound=Callable[..., Any])


def source_options(command: F) -> F:
    """Add what all three share: where the jobs come from."""
    for option in reversed((
        click.argument("source", type=WorkloadName()),
        click.option("--format", "form", type=FormatName(), default="", metavar="NAME",
                     help="Format of the trace [default: found out]."),
        click.option("--limit", type=int, help="Read so many jobs."),
        click.option("--rate-scale", type=float, default=1.0, show_default=True,
                     help="Arrivals so many times faster."),
        click.option("--tenants", type=int, default=1, show_default=True,
                     help="Deal the jobs in turn to so many tenants; 1 leaves them as they are."),
        click.option("--jitter", "jitter_s", type=float, default=0.0, show_default=True,
                     help="Seconds of noise on arrivals, for traces with coarse clocks."),
        click.option("--seed", type=int, default=0, show_default=True,
                     help="Seed of all that is drawn."),
    )):  # fmt: skip
        command = option(command)
    return command


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write [default: standard output].",
)  # fmt: skip


@click.group()
def trace() -> None:
    """Look at traces and made-up loads, convert them, take samples.

    SOURCE is a trace file, a load's TOML file, or the name of a load that comes with the package.
    """


@trace.command()
@source_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def stats(source: str, as_json: bool, **options: Any) -> None:
    """Show how the jobs of SOURCE arrive, how long they are, and what their prompts share."""
    from parallax.sim.traces.stats import describe

    figures = describe(_jobs(source, options))
    shown = figures if as_json else {k: v for k, v in figures.items() if v is not None}
    facts(shown, as_json=as_json, title=source)


@trace.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def formats(as_json: bool) -> None:
    """List the formats of traces that can be read, and the columns by which each is known."""
    found = [
        TraceFormat(name, list(FORMATS[name].columns), FORMATS[name].summary, FORMATS.source(name))
        for name in FORMATS
    ]
    show_all(found, as_json=as_json, title="Formats of traces")


@trace.command()
@source_options
@output_option
def convert(source: str, output: Path | None, **options: Any) -> None:
    """Write the jobs of SOURCE as JSON lines, in the project's own format."""
    _write(output, _jobs(source, options))


@trace.command()
@source_options
@output_option
@click.option("--share", type=float, default=0.1, show_default=True,
              help="Share of the conversations that is kept, each as a whole.")  # fmt: skip
@click.option("--begin", type=float, default=0.0, show_default=True,
              help="Leave out the first so many seconds.")  # fmt: skip
@click.option("--seconds", type=float, help="Take so many seconds [default: all].")
def sample(
    source: str,
    output: Path | None,
    share: float,
    begin: float,
    seconds: float | None,
    **options: Any,
) -> None:
    """Write a part of SOURCE, in the project's own format: of its time, and of its conversations.

    The same seed takes the same part.
    """
    seed = options["seed"]
    part = window(_jobs(source, options), begin, inf if seconds is None else seconds)
    _write(output, thinned(part, share, seed))


def _jobs(source: str, options: dict[str, Any]) -> Iterable[Timed]:
    check_int("--seed", options["seed"], 0, 2**63)
    spec = WorkloadSpec(
        source,
        options["form"],
        options["limit"],
        options["rate_scale"],
        options["tenants"],
        options["jitter_s"],
    )
    return load(spec, options["seed"])


def _write(output: Path | None, jobs: Iterable[Timed]) -> None:
    if output is None:
        count = 0
        for count, line in enumerate(generic.lines(jobs), 1):  # noqa: B007
            click.echo(line)
        if not count:
            raise InvalidInput("sample", None, "a part with jobs in it: there are none in this one")
        return
    count = generic.write(output, jobs)
    click.echo(f"{count:,} jobs written to {output}", err=True)
