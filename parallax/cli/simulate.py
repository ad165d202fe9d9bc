"""`parallax simulate`: one run in virtual time, with the scheduler and policies that run live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from parallax.cli.files import write
from parallax.cli.main import EXIT_MISSED
from parallax.cli.names import WorkloadName
from parallax.cli.output import facts
from parallax.cli.plots import draw_runs, plot_option
from parallax.cli.progress import progress, watched
from parallax.cli.run_options import experiment_options
from parallax.cli.run_spec import check, origin, spec_from, thresholds_from
from parallax.sim import simulate as simulation
from parallax.sim.report.record import record
from parallax.sim.report.writers import jobs_csv, json_text
from parallax.sim.workloads.catalog import load


@click.command()
@click.argument("workload", type=WorkloadName(), required=False)
@experiment_options
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the record of the run, for `parallax report`.")  # fmt: skip
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
              help="Write one line per job.")  # fmt: skip
@plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def simulate(
    workload: str | None,
    output: Path | None,
    csv_file: Path | None,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate one run of WORKLOAD: a trace file, a load's TOML file, or the name of a load.

    The same command gives the same bytes. Exits with 3 if a threshold is missed.
    """
    spec, thresholds = spec_from(workload, options), thresholds_from(options)
    check(spec)
    provenance = origin(spec)
    with progress() as told:
        run = simulation.simulate(spec, watched(load(spec.workload, spec.seed), told))
    document = record(run, provenance)
    if output is not None:
        write(output, json_text(document))
    if csv_file is not None:
        write(csv_file, jobs_csv(run.jobs, run.spec))
    if plot is not None:
        draw_runs(plot, f"Simulated: {spec.workload.path}", [document])
    figures = document["figures"]
    facts(figures, as_json=as_json, title=f"Simulated: {spec.workload.path}")
    for threshold in thresholds:
        click.echo(threshold.verdict(figures), err=True)
    sys.exit(0 if all(threshold.met(figures) for threshold in thresholds) else EXIT_MISSED)
