"""A sweep of simulations over one worker of rq and over two, beside the same sweep in one process.

Records must be those of the local run, to the byte. The last line is one JSON object; its ratio is
worth as much as the machine has cores that nobody else uses.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from parallax.broker.server.embedded import EmbeddedServer
from parallax.cli import remote
from parallax.services import jobs
from parallax.services.clock import SystemClock
from parallax.sim.spec import RunSpec, WorkloadSpec

CLOCK = SystemClock()
READY_S = 60.0
Arguments = Sequence[tuple[dict[str, Any], dict[str, object]]]


def sweep_of(runs: int, requests: int) -> Arguments:
    """Return what each run of the sweep is called with."""
    specs = [RunSpec(WorkloadSpec("chat", limit=requests), seed=seed) for seed in range(runs)]
    return [(spec.document(), remote.provenance_of(spec)) for spec in specs]


@contextmanager
def workers(url: str, count: int) -> Iterator[None]:
    """Have so many workers at work inside."""
    environment = {**os.environ, "PARALLAX_REDIS": url}
    command = [sys.executable, "-m", "parallax", "lab", "worker"]
    started = [subprocess.Popen(command, env=environment) for _ in range(count)]  # noqa: S603
    try:
        _await(url, count)
        yield
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(READY_S)


def _await(url: str, count: int) -> None:
    deadline, tick = CLOCK.monotonic() + READY_S, threading.Event()
    while jobs.workers(url) != count:
        if CLOCK.monotonic() > deadline:
            raise click.ClickException(f"{count} workers are not there after {READY_S:g} s")
        tick.wait(0.1)


def spread(url: str, count: int, sweep: Arguments) -> tuple[float, list[object]]:
    """Return the seconds that a sweep takes on so many workers, and its records in order."""
    with workers(url, count):
        begun = CLOCK.monotonic()
        came = dict(jobs.spread(url, jobs.RUN, sweep, 600.0, CLOCK))
        return CLOCK.monotonic() - begun, [came[at] for at in range(len(sweep))]


def measured(url: str, sweep: Arguments) -> dict[str, Any]:
    """Return what the sweep took here, on one worker and on two; raise if records differ."""
    spread(url, 1, sweep[:4])  # what is read for the first time is read now
    begun = CLOCK.monotonic()
    here = [remote.run(*one) for one in sweep]
    took: dict[str, float] = {"here_s": CLOCK.monotonic() - begun}
    for count, name in ((1, "one_worker_s"), (2, "two_workers_s")):
        took[name], records = spread(url, count, sweep)
        if records != here:
            raise click.ClickException(f"records of {count} workers are not those of the local run")
    ratio = took["one_worker_s"] / took["two_workers_s"]
    return {
        "runs": len(sweep), **{name: round(value, 2) for name, value in took.items()},
        "ratio": round(ratio, 2), "identical": True, "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }  # fmt: skip


@click.command()
@click.option("--runs", default=200, show_default=True, help="Simulations of the sweep.")
@click.option("--requests", default=1_000, show_default=True, help="Requests of each.")
def main(runs: int, requests: int) -> None:
    """Measure."""
    server = EmbeddedServer(SystemClock(), ephemeral=True)
    try:
        print(json.dumps(measured(server.start().url, sweep_of(runs, requests))))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
