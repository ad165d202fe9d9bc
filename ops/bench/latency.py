"""Unloaded latency: submit one no-op job, wait for its result, and again; beside PING.

    python -m ops.bench.latency [--jobs N]

The way of a job: the client's script, the scheduler's wake-up and commit, the worker's wake-up,
its `begin` and `finish`, and the client's wake-up: five processes' turns where PING needs one. The
floor is a ratio, because both are measured in turn on the same connection in the same second. It
holds over TCP, as most servers are reached; the embedded server's unix socket is shown beside it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import uuid4

import click

from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.errors import Unreachable
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

FLOOR = 15.0
WARM_UP = 300
CLOCK = SystemClock()


def measure(client: Client, jobs: int, prefix: str) -> tuple[list[float], list[float]]:
    """Return seconds from submit to result, and of a PING after each, for so many jobs."""
    latencies, pings = [], []
    for n in range(jobs):
        start = time.perf_counter()
        client.submit([Job(f"{prefix}-{n}", "bench", 10, 20, output_tokens=1)])
        _await_news(client)
        latencies.append(time.perf_counter() - start)
        start = time.perf_counter()
        client.ping()
        pings.append(time.perf_counter() - start)
    return latencies, pings


def _await_news(client: Client) -> None:
    for _ in range(30):
        if client.news(1000):
            return
    raise Unreachable("no result within 30 s")


@click.command()
@click.option("--jobs", default=2_000, show_default=True, help="Jobs to measure on each.")
def main(jobs: int) -> None:
    """Measure the latency of an unloaded system, beside a PING."""
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        info = server.start()
        found = {name: _both(url, jobs) for name, url in
                 (("TCP", info.tcp_url), ("unix socket", info.url))}  # fmt: skip
    (job, ping), (unix_job, unix_ping) = found.values()
    ratio = job[0] / ping[0]
    publish(
        "Unloaded latency (ms)",
        ("what", "p50", "p90", "p99"),
        [row for name, (job, ping) in found.items()
         for row in ((f"submit to result, {name}", *job), (f"PING, {name}", *ping))],
        {
            "p50_ms": round(job[0], 3),
            "p99_ms": round(job[2], 3),
            "ping_p50_ms": round(ping[0], 4),
            "p50_over_ping": round(ratio, 2),
            "unix_p50_ms": round(unix_job[0], 3),
            "unix_p50_over_ping": round(unix_job[0] / unix_ping[0], 2),
        },
        {f"p50_over_ping <= {FLOOR:g}": ratio <= FLOOR},
    )  # fmt: skip


def _both(url: str, jobs: int) -> tuple[list[float], list[float]]:
    """Return p50, p90 and p99 in ms of jobs and of PINGs."""
    plan = Plan(workers=1, schedulers=1, worker_arguments=("--engine", "noop"), cell=uuid4().hex)
    with System(plan, CLOCK, url=url, logs=Path(os.devnull)):
        client = Client(url, plan.cell)
        measure(client, WARM_UP, "warm")
        measured = measure(client, jobs, "job")
        client.close()
    latencies, pings = ([quantile(v, q) * 1e3 for q in (0.5, 0.9, 0.99)] for v in measured)
    return latencies, pings


if __name__ == "__main__":
    main()
