"""Unloaded latency: submit one no-op job, wait for its result, and again; beside PING.

    python -m ops.bench.latency [--jobs N]

The way of a job: the client's script, the scheduler's wake-up and commit, the worker's wake-up,
its `begin` and `finish`, and the client's wake-up: five processes' turns where PING needs one. The
floor is a ratio, because both are measured in turn on the same connection in the same second.
"""

from __future__ import annotations

import time

import click

from ops.bench.report import publish
from parallax.core.errors import Unreachable
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from producers.client import Client

FLOOR = 15.0
WARM_UP = 300


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
@click.option("--jobs", default=2_000, show_default=True, help="Jobs to measure.")
def main(jobs: int) -> None:
    """Measure the latency of an unloaded system, beside a PING."""
    plan = Plan(workers=1, schedulers=1, worker_arguments=("--engine", "noop"))
    with System(plan, SystemClock(), ephemeral=True) as system:
        client = Client(system.url)
        measure(client, WARM_UP, "warm")
        latencies, pings = measure(client, jobs, "job")
        client.close()
    job, ping = (
        [quantile(values, q) * 1e3 for q in (0.5, 0.9, 0.99)] for values in (latencies, pings)
    )
    ratio = job[0] / ping[0]
    publish(
        "Unloaded latency (ms)",
        ("what", "p50", "p90", "p99"),
        [("submit to result", *job), ("PING", *ping)],
        {
            "p50_ms": round(job[0], 3),
            "p99_ms": round(job[2], 3),
            "ping_p50_ms": round(ping[0], 4),
            "p50_over_ping": round(ratio, 2),
        },
        {f"p50_over_ping <= {FLOOR:g}": ratio <= FLOOR},
    )


if __name__ == "__main__":
    main()
