"""`parallax report`: the records of runs as one HTML file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from parallax.cli.files import SUMMARY, read_json, write
from parallax.cli.lab_documents import Written
from parallax.cli.output import write_json
from parallax.core.errors import InvalidInput
from parallax.sim.report.html import page
from parallax.sim.report.record import checked


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("report.html"), show_default=True, help="File to write.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def report(runs: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Write a report on RUNs: records of `parallax simulate -o`, directories of `compare`.

    Runs that differ only in their seed are shown as one, with intervals. The file needs no network.
    """
    records = [checked(read_json(path), str(path)) for run in runs for path in _files(run)]
    command = shlex.join(["parallax", "report", *map(str, runs)])
    write(output, page(records, command))
    if as_json:
        write_json(Written(str(output), len(records)))
        return
    click.echo(f"{output}: {len(records)} run{'' if len(records) == 1 else 's'}", err=True)


def _files(run: Path) -> list[Path]:
    """Return the records that an argument means: of a comparison, those of the last one."""
    if not run.is_dir():
        return [run]
    files = _last_comparison(run) if (run / SUMMARY).exists() else sorted(run.glob("*.json"))
    if not files:
        raise InvalidInput("RUN", str(run), "a directory with records of runs in it")
    return files


def _last_comparison(run: Path) -> list[Path]:
    summary = read_json(run / SUMMARY)
    names = summary.get("cells") if isinstance(summary, dict) else None
    if not isinstance(names, list):
        raise InvalidInput("RUN", str(run / SUMMARY), "a summary that `parallax compare` wrote")
    return [run / "cells" / Path(str(name)).name for name in names]
