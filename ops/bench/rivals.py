"""Parallax's default composition beside other routers' rules, on other people's traces.

For each workload the loads are sought at which round robin's goodput falls to 90 % and to 99 %;
there, and at 1.2 times the first, all serve the same arrivals, several seeds each. A rival is its
published routing rule with nothing before it, as it runs: every request is sent on at once. Other
entrants are the default with each constant of its cost changed, or with another order; other fleets
are of two speeds, with stragglers, four times as wide, with workers that only prefill, or of two
models. Cells that are done stay in a file, so that a run can be done in parts. The last line is one
JSON object: for each cell whether the default's goodput is first, or tied, which is: no other's is
higher by more than the 95 % interval of the differences seed by seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from ops.bench.contests import FLEETS, LOADS, SHOWN, Contest, Measured, contests, critical
from ops.bench.entrants import BASELINE, DEFAULT, ENTRANTS, rivals
from parallax.cli.files import read_json, write
from parallax.cli.output import show
from parallax.cli.pool import spread
from parallax.core.clock import Clock
from parallax.services.clock import SystemClock
from parallax.sim.report.html import with_interval
from parallax.sim.report.statistics import Interval, difference, interval

STEPS = 9  # halvings of the range in which a load is sought
#: One run: where, who, which load by name and number, and the seed.
Task = tuple[Contest, str, str, str, float, int]


@dataclass(slots=True)
class Kept:
    """Loads and figures that are known, in a file or only here."""

    file: Path | None
    known: dict[str, object]

    def put(self, key: str, value: object) -> None:
        """Keep a result at once."""
        self.known[key] = value
        if self.file is not None:
            write(self.file, json.dumps(self.known, indent=0, sort_keys=True))


def kept_in(file: Path | None) -> Kept:
    """Return what a file holds, nothing if it is not there yet."""
    found = read_json(file) if file is not None and file.exists() else {}
    return Kept(file, found if isinstance(found, dict) else {})


def critical_key(contest: Contest, fleet: str, target: str) -> str:
    """Return where a load is kept: two sizes of workload have loads of their own."""
    return f"{contest.name}/{fleet}/{contest.workload.limit}/load {target}"


def cell_key(contest: Contest, fleet: str, load: str, entrants: str, entrant: str) -> str:
    """Return where the figures of an entrant are kept, by seed."""
    due = "/due" if contest.due else ""
    return f"{contest.name}/{fleet}/{contest.workload.limit}{due}/{load}/{entrants}/{entrant}"


def sought(given: tuple[Contest, float]) -> float | None:
    """Return the load of a contest at which the baseline's goodput falls to a target."""
    contest, target = given
    return critical(replace(contest, due=False), rivals()[BASELINE], target, STEPS)


def played(task: Task) -> Measured:
    """Return the figures of one run; called in any process."""
    contest, entrants, entrant, _, load, seed = task
    return contest.measured(ENTRANTS[entrants][entrant], load, seed)


def first_or_tied(runs: Mapping[str, Sequence[Measured]]) -> bool:
    """Whether nobody's goodput is higher than the default's by more than seeds leave open."""
    return not ahead(runs)


def ahead(runs: Mapping[str, Sequence[Measured]]) -> dict[str, Interval]:
    """Return whose goodput is higher than the default's for certain, and by how much."""
    mine = _by_seed(runs[DEFAULT])
    found = {}
    for name, theirs in runs.items():
        lead = difference(_by_seed(theirs), mine)
        if name != DEFAULT and lead is not None and lead.mean > (lead.half or 0.0):
            found[name] = lead
    return found


def _by_seed(runs: Sequence[Measured]) -> dict[int, float]:
    return {seed: run["goodput"] or 0.0 for seed, run in enumerate(runs)}


def loads_of(contest: Contest, fleet: str, names: Iterable[str], kept: Kept) -> dict[str, float]:
    """Return loads by name; one that the baseline does not reach at any load is left out."""
    found: dict[str, float] = {}
    for name in names:
        target = "0.9" if name.endswith("x") else name
        key = critical_key(contest, fleet, target)
        if key not in kept.known:
            kept.put(key, sought((contest, float(target))))
        load = kept.known[key]
        if isinstance(load, int | float):
            found[name] = float(load) * (float(name[:-1]) if name.endswith("x") else 1.0)
    return found


def tasks_of(
    contest: Contest,
    fleet: str,
    entrants: str,
    loads: Mapping[str, float],
    names: Sequence[str],
    seeds: int,
    kept: Kept,
) -> Iterator[Task]:
    """Yield the runs that are still to be done, seed by seed, so that a part is fair to all."""
    for seed in range(seeds):
        for load, factor in loads.items():
            for name in names:
                done = kept.known.get(cell_key(contest, fleet, load, entrants, name), [])
                if seed >= len(done):  # type: ignore[arg-type]
                    yield contest, entrants, name, load, factor, seed


def play(
    tasks: Sequence[Task], fleet: str, jobs: int, kept: Kept, clock: Clock, end: float
) -> None:
    """Do runs until a time, and keep what they give by seed, in order."""
    found: dict[Task, Measured] = {}
    for task, result in spread(played, tasks, jobs):
        if isinstance(result, BaseException):
            raise click.ClickException(f"{task[0].name}, {task[2]}: {result}")
        found[task] = result
        _keep(found, tasks, fleet, kept)
        if clock.monotonic() > end:
            break


def _keep(found: dict[Task, Measured], tasks: Sequence[Task], fleet: str, kept: Kept) -> None:
    """Keep what is next of each entrant: seeds stay in order, whichever was done first."""
    for task in [task for task in tasks if task in found]:
        contest, entrants, name, load, _, seed = task
        key = cell_key(contest, fleet, load, entrants, name)
        runs = list(kept.known.get(key, []))  # type: ignore[call-overload]
        if len(runs) == seed:
            kept.put(key, [*runs, found.pop(task)])


def _rows(runs: Mapping[str, Sequence[Measured]]) -> Iterable[tuple[object, ...]]:
    for name, found in runs.items():
        yield name, len(found), *(with_interval(_interval(found, figure)) for figure in SHOWN)


def _interval(found: Sequence[Measured], name: str) -> Interval | None:
    known = [value for run in found if (value := run[name]) is not None]
    return interval(known) if known else None


def tell(contest: Contest, fleet: str, entrants: str, load: str, factor: float,
         names: Sequence[str], kept: Kept) -> dict[str, object] | None:  # fmt: skip
    """Show one cell; return what the document says of it, None if nothing was run in it."""
    keys = {name: cell_key(contest, fleet, load, entrants, name) for name in names}
    runs: dict[str, list[Measured]] = {
        name: kept.known[key] for name, key in keys.items() if key in kept.known  # type: ignore[misc]
    }  # fmt: skip
    if not runs:
        return None
    title = f"{contest.name}, fleet {fleet}, load {load} ({factor:.3f} times its rate)"
    click.echo(f"\n{title}: goodput within {contest.ttft_s:g} s to the first token, "
               f"{contest.tpot_s:g} s for each further one")  # fmt: skip
    show(
        None, as_json=False, title=title, head=("entrant", "seeds", *SHOWN), rows=list(_rows(runs))
    )
    if DEFAULT not in runs:
        return None
    leads = {name: [lead.mean, lead.half] for name, lead in ahead(runs).items()}
    return {"first_or_tied": not leads, "ahead": leads, "load": factor}


def _chosen(text: str, known: Iterable[str], option: str) -> list[str]:
    """Return the names in a list with commas; all if it is empty."""
    known = list(known)
    names = [part.strip() for part in text.split(",") if part.strip()] or known
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r}: known: {', '.join(known)}", param_hint=option)
    return names


@click.command()
@click.argument("traces", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--limit", default=6_000, show_default=True, help="Requests of each trace.")
@click.option("--seeds", default=5, show_default=True, help="Runs of each entrant.")
@click.option("--only", default="", help="Workloads whose names contain this.")
@click.option("--load", "loads", default=",".join(LOADS), show_default=True,
              help="Goodputs of round robin, or multiples of the load of 90 % (1.2x).")  # fmt: skip
@click.option("--fleet", type=click.Choice(list(FLEETS)), default="equal", show_default=True,
              help="How the workers differ.")  # fmt: skip
@click.option("--entrants", type=click.Choice(list(ENTRANTS)), default="rivals",
              show_default=True, help="Who meets.")  # fmt: skip
@click.option("--who", default="", metavar="NAME,...", help="Only these of the entrants.")
@click.option("--budget", default=1e9, help="Seconds; what is not done then can be done later.")
@click.option("--jobs", type=int, default=os.cpu_count() or 1, help="Processes.")
@click.option("-o", "file", type=click.Path(dir_okay=False, path_type=Path),
              help="Keep cells here, and go on from those that are there.")  # fmt: skip
def main(
    traces: Path, limit: int, seeds: int, only: str, loads: str, fleet: str, entrants: str,
    who: str, budget: float, jobs: int, file: Path | None,
) -> None:  # fmt: skip
    """Compare Parallax with other routers' rules on the traces in the directory TRACES."""
    clock = SystemClock()
    end = clock.monotonic() + budget
    names = _chosen(who, ENTRANTS[entrants], "--who")
    kept, document = kept_in(file), {}
    for one in contests(traces, limit):
        if only.lower() not in one.name.lower():
            continue
        contest = replace(FLEETS[fleet](one), due=entrants == "orders")
        if clock.monotonic() < end:
            found = loads_of(contest, fleet, [part.strip() for part in loads.split(",")], kept)
            tasks = list(tasks_of(contest, fleet, entrants, found, names, seeds, kept))
            play(tasks, fleet, jobs, kept, clock, end)
            for load, factor in found.items():
                document[f"{contest.name}, {load}"] = tell(
                    contest, fleet, entrants, load, factor, names, kept
                )
    click.echo(json.dumps(document))


if __name__ == "__main__":
    main()
