"""`parallax experiment`: questions to the policies, measured, and held against theory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from parallax.cli.files import write
from parallax.cli.lab_documents import ExperimentRow, Finding
from parallax.cli.main import EXIT_FAILED, EXIT_MISSED
from parallax.cli.output import show
from parallax.cli.pool import spread
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int
from parallax.sim.experiments import catalog
from parallax.sim.experiments.experiment import Case, Experiment, Figures, Measured, Verdict
from parallax.sim.experiments.page import files, number

#: One measurement: the experiment's name, the case, and the seed.
Task = tuple[str, Case, int]


@click.group()
def experiment() -> None:
    """Questions to the policies, measured and held against theory."""


@experiment.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def listed(as_json: bool) -> None:
    """List the experiments."""
    found = [catalog.experiment(name) for name in catalog.names()]
    rows = [(one.name, one.title, len(one.cases) * one.seeds) for one in found]
    document = [
        ExperimentRow(one.name, one.title, one.question, runs)
        for one, (_, _, runs) in zip(found, rows, strict=True)
    ]
    show(document, as_json=as_json, title="", head=("name", "title", "runs"), rows=rows)


@experiment.command("run")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--seeds", type=int, help="Runs of each case [default: as the experiment says].")
@click.option("--jobs", type=int, help="Processes [default: one per core].")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
              help="Directory for a page and charts of each.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def run(
    names: tuple[str, ...], seeds: int | None, jobs: int | None, output: Path | None, as_json: bool
) -> None:
    """Run the named experiments, or all, and check their results.

    Everything is drawn from fixed seeds: the same version gives the same numbers. Exits with 3 if a
    number is not as expected, with 1 if a run failed.
    """
    chosen = [catalog.experiment(name) for name in dict.fromkeys(names or catalog.names())]
    if seeds is not None:
        check_int("--seeds", seeds, 1, 1_000)
    processes = jobs or os.cpu_count() or 1
    check_int("--jobs", processes, 1, 1_024)
    counts = {one.name: seeds or one.seeds for one in chosen}
    found, failures = _measured(chosen, counts, processes)
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    if failures:
        sys.exit(EXIT_FAILED)
    verdicts = {one.name: one.judge(found[one.name]) for one in chosen}
    if output is not None:
        _keep(output, chosen, verdicts, counts)
    _show(chosen, verdicts, as_json)
    sys.exit(0 if all(verdict.holds for verdict in verdicts.values()) else EXIT_MISSED)


def measure(task: Task) -> Figures:
    """Measure one case with one seed; called in any process."""
    name, case, seed = task
    return catalog.experiment(name).measure(case, seed)


def _measured(
    chosen: Sequence[Experiment], counts: Mapping[str, int], processes: int
) -> tuple[dict[str, Measured], list[str]]:
    """Run all cases of all experiments; return their results, and their errors."""
    tasks: list[Task] = [
        (one.name, case, seed)
        for one in chosen
        for case in one.cases
        for seed in range(counts[one.name])
    ]
    results: dict[Task, Figures] = {}
    failures = []
    for task, result in spread(measure, tasks, processes):
        if isinstance(result, BaseException):
            failures.append(f"{task[0]} {task[1]}, seed {task[2]}: {result!r}")
        else:
            results[task] = result
    found = {one.name: Measured() for one in chosen}
    for task in tasks:  # in their order, whichever was done first
        if task in results:
            found[task[0]].add(task[1], results[task])
    return found, failures


def _keep(
    output: Path,
    chosen: Sequence[Experiment],
    verdicts: Mapping[str, Verdict],
    counts: Mapping[str, int],
) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("-o", str(output), f"a directory ({error.strerror})") from None
    for one in chosen:
        for name, text in files(one, verdicts[one.name], counts[one.name]):
            write(output / name, text)


def _show(chosen: Sequence[Experiment], verdicts: Mapping[str, Verdict], as_json: bool) -> None:
    rows, document = [], []
    for one in chosen:
        for finding in verdicts[one.name].findings:
            word = "holds" if finding.holds else "MISSES"
            rows.append((one.name, finding.what, number(finding.value), finding.bounds, word))
            document.append(
                Finding(
                    experiment=one.name, what=finding.what, value=finding.value,
                    expected=finding.bounds, verdict="holds" if finding.holds else "MISSES",
                )
            )  # fmt: skip
    head = ("experiment", "what", "measured", "expected", "verdict")
    show(document, as_json=as_json, title="Experiments", head=head, rows=rows)
