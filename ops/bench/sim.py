"""How fast the simulator is: requests per second of CPU time, of one core.

A real trace on 16 workers, and the same at 16 times the rate on 256. The cost per request must not
grow with the length of the run, so its second half is timed against its first. The last line is one
JSON object. With `--beside TREE` another tree, compiled (`make compiled`) or of another commit,
takes turns with this one, each in a process of its own, and the key `over_before` says how many
times as fast this one is; the median of so many pairs.
"""

from __future__ import annotations

import cProfile
import io
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import click

from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.workloads.catalog import load

POLICIES = Policies(
    routing=PolicyChoice("kv_locality"),
    fairness=PolicyChoice("fair_queuing"),
    ordering=PolicyChoice("sjf"),
)


class Watched:
    """Jobs that note when they are asked for."""

    def __init__(self, jobs: list[Timed]) -> None:
        self._jobs = jobs
        self.marks: list[float] = []

    def __iter__(self) -> Iterator[tuple[float, Job]]:
        every = max(1, len(self._jobs) // 10)
        for n, timed in enumerate(self._jobs):
            if n % every == 0:
                self.marks.append(time.process_time())
            yield timed


def spec_of(trace: str, workers: int, scale: float) -> RunSpec:
    """Return the run that is timed."""
    return RunSpec(WorkloadSpec(trace, rate_scale=scale), FleetSpec(workers=workers), POLICIES)


def timed(spec: RunSpec) -> tuple[float, float]:
    """Return requests per second, and the cost of a request late in the run over early in it."""
    jobs = list(load(spec.workload, spec.seed))
    watched = Watched(jobs)
    start = time.process_time()
    run = simulate(spec, watched)
    spent = time.process_time() - start
    done = sum(job.outcome == "completed" for job in run.jobs)
    if done != len(jobs):
        raise click.ClickException(f"{done} of {len(jobs)} jobs completed")
    marks = watched.marks
    middle = len(marks) // 2
    growth = (marks[-1] - marks[middle]) / (len(marks) - 1 - middle)
    return len(jobs) / spent, growth / ((marks[middle] - marks[1]) / (middle - 1))


def profiled(spec: RunSpec, lines: int) -> str:
    """Return where the time goes."""
    profile = cProfile.Profile()
    profile.runcall(simulate, spec)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(lines)
    return "\n".join(line for line in text.getvalue().splitlines()[4:] if line.strip())


def of_tree(tree: Path, trace: str) -> float:
    """Let a tree time the smaller run; return requests per second."""
    trace = str(Path(trace).resolve()) if Path(trace).exists() else trace
    command = [sys.executable, "-P", str(Path(__file__).resolve()), trace, "--once"]
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    done = subprocess.run(  # noqa: S603
        command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, timeout=600
    )
    return float(done.stdout)


def beside(tree: Path, trace: str, runs: int) -> dict[str, float]:
    """Time this tree and another in turn."""
    here = Path(__file__).parents[2]
    pairs = [(of_tree(tree, trace), of_tree(here, trace)) for _ in range(runs)]
    return {
        "requests_per_s": round(median(mine for _, mine in pairs), 1),
        "beside_requests_per_s": round(median(theirs for theirs, _ in pairs), 1),
        "over_before": round(median(mine / theirs for theirs, mine in pairs), 3),
    }


@click.command()
@click.argument("trace", default="azure_like")
@click.option("--beside", "tree", type=click.Path(exists=True, path_type=Path), help="In turn.")
@click.option("--once", is_flag=True, hidden=True)
@click.option("--runs", default=3, show_default=True, help="The median of so many.")
@click.option("--profile", is_flag=True, help="Show where the time goes, too.")
def main(trace: str, runs: int, profile: bool, tree: Path | None, once: bool) -> None:
    """Time the simulator on a trace file, or on a load that comes with the package."""
    if once:
        click.echo(timed(spec_of(trace, 16, 1.0))[0])
        return
    if tree is not None:
        click.echo(json.dumps(beside(tree, trace, runs)))
        return
    small, large = spec_of(trace, 16, 1.0), spec_of(trace, 256, 16.0)
    rows = [(timed(small), timed(large)) for _ in range(runs)]  # side by side: noise hits both
    speed = median(row[0][0] for row in rows)
    scaled = median(row[1][0] / row[0][0] for row in rows)
    growth = median(row[0][1] for row in rows)
    if profile:
        click.echo(profiled(small, 15))
    click.echo(f"16 workers:  {speed:,.0f} requests/s")
    click.echo(f"256 workers: {scaled:.2f} of that, at 16 times the rate")
    click.echo(f"a request late in the run costs {growth:.2f} of one early in it")
    document = {
        "requests_per_s": round(speed, 1),
        "scale_256_ratio": round(scaled, 3),
        "late_over_early": round(growth, 3),
    }
    click.echo(json.dumps(document))


if __name__ == "__main__":
    main()
