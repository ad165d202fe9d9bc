"""Measures the cost of metrics: the same jobs with all of them, and with none.

    python -m ops.bench.metrics [--jobs N] [--rounds N]

A scheduler and a worker with the engine `noop` take turns in this process, over a private server of
their own, in batches as they are under load; runs with and without metrics alternate. What is
compared is CPU time of this process (producing not counted) and of the server: on a machine that
has much else to do, wall time says nothing. The last line is one JSON object.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import click

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.registry import build_engine
from parallax.consumers.worker import Worker
from parallax.core.model import Job
from parallax.core.settings import Policies, SchedulerSettings, WorkerSettings
from parallax.lab.report import publish
from parallax.services.clock import SystemClock
from parallax.services.scheduler import SchedulerService
from parallax.telemetry.scheduling import SchedulingMetrics
from parallax.telemetry.working import WorkingMetrics

#: Share of the CPU time that metrics may cost.
CEILING = 0.02
_BATCH, _TENANTS = 500, 10


def silenced(kind: type) -> type:
    """Return a class of metrics that counts nothing."""
    names = [name for name, what in vars(kind).items() if callable(what) and name[0] != "_"]
    return type(f"Silent{kind.__name__}", (kind,), dict.fromkeys(names, _nothing))


def _nothing(*_: object, **__: object) -> None:
    """Count nothing."""


def measured(url: str, name: str, jobs: int, counting: bool) -> float:
    """Carry so many jobs through a cell; return microseconds of CPU per job."""
    scheduling, working = (
        kind if counting else silenced(kind) for kind in (SchedulingMetrics, WorkingMetrics)
    )
    clock, keys, link = SystemClock(), Keys(name), Link.to(url)
    engine = build_engine("noop", profile="laptop", slots=_BATCH, speed=1.0, clock=clock)
    scheduler = SchedulerService(
        Link.to(url), keys, "s", SchedulerSettings(block_s=0.001), Policies(), clock, scheduling()
    )
    worker = Worker("w", (Link.to(url), Link.to(url)), keys, engine,
                    WorkerSettings(heartbeat_s=60.0, block_s=0.001), clock,
                    metrics=working())  # fmt: skip
    intake, spent = Intake(link, keys), 0.0
    worker.heartbeat.beat()
    scheduler.run_once()  # it takes the lease
    for start in range(0, jobs, _BATCH):
        intake.submit([_job(n) for n in range(start, min(jobs, start + _BATCH))])
        began = time.process_time() + _server_s(link)
        while link.call("ZCARD", keys.open):
            scheduler.run_once()
            worker.run_once()
        spent += time.process_time() + _server_s(link) - began
        worker.heartbeat.beat()
    worker.close()
    scheduler.close()
    link.close()
    return 1e6 * spent / jobs


def _job(number: int) -> Job:
    return Job(f"j{number}", f"t{number % _TENANTS}", 100, 20)


def _server_s(link: Link) -> float:
    lines = dict(
        line.split(":", 1) for line in link.call("INFO", "cpu").decode().split() if ":" in line
    )
    return float(lines["used_cpu_sys"]) + float(lines["used_cpu_user"])


@click.command()
@click.option("--jobs", default=20_000, show_default=True, help="Jobs of each run.")
@click.option("--rounds", default=7, show_default=True, help="Runs with metrics, and without.")
def main(jobs: int, rounds: int) -> None:
    """Carry the same jobs with all metrics and with none, again and again."""
    server = EmbeddedServer(SystemClock(), ephemeral=True)
    url = server.start().url
    took: dict[bool, list[float]] = {True: [], False: []}
    try:
        for number in range(2 * rounds + 1):  # the first one warms up
            counting = number % 2 == 1
            us = measured(url, f"c{number}", jobs, counting)
            if number:
                took[counting].append(us)
    finally:
        server.stop()
    middle: Callable[[bool], float] = lambda counting: statistics.median(took[counting])  # noqa: E731
    cost = middle(True) / middle(False) - 1
    rows = [
        (what, middle(counting), min(took[counting]), max(took[counting]))
        for what, counting in (("with all metrics", True), ("without", False))
    ]
    figures = {"with_us": middle(True), "without_us": middle(False), "share": round(cost, 4)}
    publish(
        f"What counting costs: {100 * cost:.1f} % of {jobs} jobs' CPU time",
        ("run", "us/job, median", "fastest", "slowest"), rows, figures,
        {f"metrics cost less than {CEILING:.0%}": cost < CEILING},
    )  # fmt: skip


if __name__ == "__main__":
    main()
