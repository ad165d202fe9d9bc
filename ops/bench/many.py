"""How much memory a long simulation takes: arrivals are streamed, outcomes summarised as they come.

256 workers serve a tenth of the requests, and then all, each in a process of its own: memory must
not grow with their number. The last line is one JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click

from ops.bench.sim import spec_of
from parallax.sim.outcome import JobOutcome
from parallax.sim.simulate import simulate
from parallax.sim.spec import WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.workloads.catalog import load

CEILING = 1.5  # memory for all requests over memory for a tenth of them


@dataclass(slots=True)
class Summary:
    """The summary of all outcomes."""

    completed: int = 0
    e2e_s: float = 0.0

    def take(self, outcome: JobOutcome) -> None:
        """Count one."""
        if outcome.outcome == "completed":
            self.completed += 1
            self.e2e_s += outcome.e2e_s


def streamed(workload: WorkloadSpec, requests: int) -> Iterator[Timed]:
    """Yield so many jobs: the load, drawn anew whenever it is at its end."""
    given, since, last = 0, 0.0, 0.0
    for draw in range(requests):
        for at_s, job in load(workload, draw):
            last = since + at_s
            yield last, replace(job, id=f"{draw}-{job.id}")
            given += 1
            if given == requests:
                return
        since = last


def once(requests: int) -> dict[str, float]:
    """Simulate them in this process."""
    spec, summary = spec_of("azure_like", 256, 16.0), Summary()
    start = time.process_time()
    simulate(spec, streamed(spec.workload, requests), keep=summary.take)
    spent = time.process_time() - start
    if summary.completed != requests:
        raise click.ClickException(f"{summary.completed} of {requests} jobs completed")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"requests_per_s": round(requests / spent, 1), "peak_mb": round(peak_mb, 1),
            "mean_e2e_s": round(summary.e2e_s / requests, 3)}  # fmt: skip


def apart(requests: int) -> dict[str, float]:
    """Simulate them in a process of their own."""
    command = [sys.executable, "-m", "ops.bench.many", "--requests", str(requests), "--once"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=3_600)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


@click.command()
@click.option("--requests", type=click.IntRange(min=10), default=1_000_000, show_default=True)
@click.option("--once", "here", is_flag=True, hidden=True)
def main(requests: int, here: bool) -> None:
    """Simulate many requests, and see that memory does not follow their number."""
    if here:
        click.echo(json.dumps(once(requests)))
        return
    few, many = apart(requests // 10), apart(requests)
    growth = many["peak_mb"] / few["peak_mb"]
    click.echo(f"{requests:,} requests: {many['peak_mb']:,.0f} MB, {growth:.2f} of a tenth's")
    click.echo(json.dumps({**many, "memory_growth": round(growth, 3)}))
    sys.exit(3 if growth > CEILING else 0)


if __name__ == "__main__":
    main()
