"""`parallax compare`: policies x loads x seeds, on all cores, to be continued where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click

from parallax.cli.files import SUMMARY, read_json, write
from parallax.cli.grid import combinations, listed
from parallax.cli.main import EXIT_FAILED, EXIT_MISSED
from parallax.cli.names import WorkloadName
from parallax.cli.options import server_options, server_url
from parallax.cli.output import show
from parallax.cli.plots import draw_runs, plot_option
from parallax.cli.pool import spread
from parallax.cli.run_options import experiment_options
from parallax.cli.run_spec import origin, thresholds_from
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.core.model import check_int, check_number
from parallax.sim.report.figures import NAMES
from parallax.sim.report.html import with_interval
from parallax.sim.report.record import FORMAT, Record, checked, record
from parallax.sim.report.thresholds import Threshold
from parallax.sim.report.variants import Variant, best, by_workload, variants
from parallax.sim.report.writers import json_text, runs_csv
from parallax.sim.spec import RunSpec
from parallax.sim.spec_reading import parse
from parallax.sim.traces.files import no_pipe

SHOWN = (
    "goodput", "throughput_per_s", "ttft_ms_p50", "ttft_ms_p95", "tpot_ms_mean", "e2e_ms_p95",
    "prefix_hit_ratio",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One run of the comparison, and the file that holds its record once it is done."""

    spec: RunSpec
    path: Path
    provenance: dict[str, object]


@click.command()
@click.argument("workload", type=WorkloadName(), required=False)
@experiment_options
@click.option("--load", "loads", default="1", show_default=True, metavar="FACTOR,...",
              help="Loads: arrivals so many times faster.")  # fmt: skip
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each variant.")
@click.option("--jobs", type=int, help="Processes [default: one per core].")
@click.option("--show", "shown", default=",".join(SHOWN), show_default=True, metavar="FIGURE,...",
              help="Figures in the table.")  # fmt: skip
@server_options
@click.option("--rq", "on_workers", is_flag=True,
              help="Run on the workers of `parallax lab worker`, wherever they are.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Directory of the results; runs found there are not repeated.")  # fmt: skip
@plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def compare(
    workload: str | None,
    loads: str,
    seeds: int,
    jobs: int | None,
    shown: str,
    output: Path,
    redis: str | None,
    home: Path | None,
    on_workers: bool,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare policies on WORKLOAD: every policy option takes several names, A,B,C.

    Each combination of policies, loads and seeds is one run; runs that differ only in their seed
    are shown as mean and 95 % interval; a star marks the best mean of each load, and those that
    the differences seed by seed do not tell apart from it. Every run that is done is kept at once:
    after an interruption, the same command goes on. Exits with 3 if a variant misses a threshold,
    with 1 if a run failed.
    """
    columns, thresholds = _columns(shown), thresholds_from(options)
    specs = list(_specs(workload, options, loads, seeds))
    cells = _cells(specs, output)
    todo = [cell for cell in cells if not _done(cell)]
    click.echo(f"{len(cells)} runs, {len(cells) - len(todo)} of them done before", err=True)
    if on_workers:
        failures = run_elsewhere(todo, server_url(redis, home))
    else:
        failures = run_all(todo, jobs or os.cpu_count() or 1)
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    records = [checked(read_json(cell.path), str(cell.path)) for cell in cells if _done(cell)]
    found = variants(records)
    _keep(output, found, cells)
    if plot is not None:
        draw_runs(plot, f"Compared: {specs[0].workload.path if specs else ''}", records)
    title = "Mean ± 95 %; * = best of its load, or not told apart from it"
    rows = _rows(found, columns)
    head = ("variant", "seeds", *columns)
    show(_document(found), as_json=as_json, title=title, head=head, rows=rows)
    missed = _missed(found, thresholds)
    sys.exit(EXIT_FAILED if failures else EXIT_MISSED if missed else 0)


# -- which runs


def _specs(
    workload: str | None, options: dict[str, Any], loads: str, seeds: int
) -> Iterator[RunSpec]:
    """Yield the specs of all runs, checked."""
    check_int("--seeds", seeds, 1, 1_000)
    factors = [_factor(text) for text in listed(loads)]
    for spec in combinations(workload, options):
        for factor, seed in product(factors, range(seeds)):
            faster = spec.workload.rate_scale * factor
            load = dataclasses.replace(spec.workload, rate_scale=faster)
            changed = dataclasses.replace(spec, workload=load, seed=spec.seed + seed)
            yield parse(changed.document())


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        raise InvalidInput("--load", text, "numbers with commas between them: 0.5,1,2") from None
    check_number("--load", factor, 1e-6, 1e6)
    return factor


def _columns(shown: str) -> list[str]:
    for name in listed(shown):
        if name not in NAMES:
            raise InvalidInput("--show", name, f"known: {', '.join(NAMES)}")
    return listed(shown)


# -- running them


def _cells(specs: Sequence[RunSpec], output: Path) -> list[Cell]:
    """Name each run after all that it depends on: a changed trace or policy is another run."""
    folder = output / "cells"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("-o", str(output), f"a directory ({error.strerror})") from None
    for path in {spec.workload.path for spec in specs}:
        no_pipe(Path(path), "every run of a comparison reads it")
    first = origin(specs[0]) if specs else {}  # all runs read the same trace and the same code
    cells = []
    for spec in specs:
        provenance = {**first, **_own(spec)}
        name = hashlib.sha256(json_text([FORMAT, provenance]).encode()).hexdigest()[:24]
        cells.append(Cell(spec, folder / f"{name}.json", provenance))
    return cells


def _own(spec: RunSpec) -> dict[str, object]:
    from parallax.sim.provenance import spec_hash

    return {"seed": spec.seed, "spec_sha256": spec_hash(spec.document())}


def _done(cell: Cell) -> bool:
    """Whether a run's record is there, whole."""
    if not cell.path.exists():
        return False
    try:
        checked(read_json(cell.path), str(cell.path))
    except InvalidInput:
        return False  # damaged: do it again
    return True


def run_cell(cell: Cell) -> str:
    """Simulate one run and keep its record; return what went wrong, or ''."""
    from parallax.sim import simulate as simulation

    try:
        run = simulation.simulate(cell.spec)
        write(cell.path, json_text(record(run, cell.provenance)))
    except ParallaxError as error:
        return str(error)
    return ""


def run_all(cells: Sequence[Cell], processes: int) -> list[str]:
    """Run all, most of the time in processes of their own; return what went wrong."""
    check_int("--jobs", processes, 1, 1_024)
    failures = []
    for cell, result in spread(run_cell, cells, processes):
        failure = f"{cell.path.name}: {result!r}" if not isinstance(result, str) else result
        failures += [failure] if failure else []
    return failures


def run_elsewhere(cells: Sequence[Cell], url: str) -> list[str]:
    """Run all on workers of rq, and keep the records here; return what went wrong."""
    from parallax.cli.pool import watched
    from parallax.cli.remote import run_on_workers

    if not cells:
        return []
    ended = run_on_workers(
        url, [cell.spec for cell in cells], [cell.provenance for cell in cells]
    )  # fmt: skip
    failures = []
    for at, result in watched(ended, len(cells), "runs"):
        if isinstance(result, str):
            write(cells[at].path, result)
        else:
            failures.append(f"{cells[at].path.name}: {result}")
    return failures


# -- results


def _keep(output: Path, found: Sequence[Variant], cells: Sequence[Cell]) -> None:
    """Write the findings, and the cells of the directory that they were found in."""
    done = sorted(cell.path.name for cell in cells if cell.path.exists())
    summary = {"cells": done, "variants": _document(found)}
    write(output / SUMMARY, json_text(summary))
    runs = [
        {"variant": variant.name, "seed": seed, **one["figures"]}
        for variant in found
        for seed, one in zip(variant.seeds, variant.records, strict=True)
    ]
    write(output / "runs.csv", runs_csv(runs))


def _document(found: Sequence[Variant]) -> list[Record]:
    return [
        {
            "variant": variant.name,
            "seeds": variant.seeds,
            "figures": {name: _interval(variant, name) for name in variant.means()},
        }
        for variant in found
    ]


def _interval(variant: Variant, name: str) -> dict[str, float | None] | None:
    found = variant.interval(name)
    return None if found is None else {"mean": found.mean, "half": found.half}


def _rows(found: Sequence[Variant], columns: Sequence[str]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for group in by_workload(found):
        top = {name: best(name, group) for name in columns}
        for variant in group:
            cells = [
                with_interval(variant.interval(name)) + (" *" if variant.name in top[name] else "")
                for name in columns
            ]
            rows.append((variant.name, len(variant.records), *cells))
    return rows


def _missed(found: Sequence[Variant], thresholds: Sequence[Threshold]) -> bool:
    """Say which thresholds the variants meet; whether one was missed."""
    missed = False
    for variant, threshold in product(found, thresholds):
        means = variant.means()
        missed |= not threshold.met(means)
        click.echo(f"{variant.name}: {threshold.verdict(means)}", err=True)
    return missed
