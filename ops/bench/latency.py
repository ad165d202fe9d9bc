"""Unloaded latency: submit one no-op job, wait for its result, and again; beside PING.

    python -m ops.bench.latency [--jobs N] [--beside TREE]

The way of a job: the client's script, the scheduler's wake-up and commit, the worker's wake-up,
its `begin` and `finish`, and the client's wake-up: five processes' turns where PING needs one. The
floor is a ratio, because both are measured in turn on the same connection in the same second. It
holds over TCP, as most servers are reached; the embedded server's unix socket is shown beside it.

With `--beside` another tree takes turns with this one; `over_before` is the median of how long a
job takes here (p50) over how long it takes there, `p99_over_before` the same of the slowest.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from contextlib import ExitStack, closing
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
BESIDE_JOBS = 100  # in a round, beside another tree
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
@click.option("--beside", "tree", type=click.Path(exists=True, path_type=Path),
              help="Another tree, in turn with this one.")  # fmt: skip
@click.option("--rounds", default=40, show_default=True, help="Rounds beside another tree.")
@click.option("--paced", is_flag=True, hidden=True)
def main(jobs: int, tree: Path | None, rounds: int, paced: bool) -> None:
    """Measure the latency of an unloaded system, beside a PING."""
    if paced:
        _paced(jobs)
        return
    if tree is not None:
        _beside(tree, min(jobs, BESIDE_JOBS), rounds)
        return
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


def _paced(jobs: int) -> None:
    """Measure over TCP whenever a line comes; print milliseconds, and what each process did."""
    numbers = itertools.count()
    plan = Plan(workers=1, schedulers=1, worker_arguments=("--engine", "noop"), cell=uuid4().hex)
    with ExitStack() as stack:
        info = stack.enter_context(EmbeddedServer(CLOCK, ephemeral=True)).start()
        system = stack.enter_context(System(plan, CLOCK, url=info.tcp_url, logs=Path(os.devnull)))
        client = stack.enter_context(closing(Client(info.tcp_url, plan.cell)))
        pids = {"client": os.getpid(), "redis": info.pid}
        for name, child in system.processes.children.items():
            pids[name.partition("-")[0]] = child.process.pid
        measure(client, WARM_UP, "warm")
        for _ in sys.stdin:
            before = _done(pids)
            taken, pings = measure(client, jobs, f"job-{next(numbers)}")
            figures = {f"p{q * 100:.0f}_ms": quantile(taken, q) * 1e3 for q in (0.5, 0.9, 0.99)}
            figures["ping_p50_ms"] = quantile(pings, 0.5) * 1e3
            figures |= {what: (n - before[what]) / jobs for what, n in _done(pids).items()}
            print(json.dumps(figures), flush=True)


def _done(pids: dict[str, int]) -> dict[str, float]:
    """Return how often processes have gone to sleep, and microseconds of CPU they have used.

    Unlike a time, a count is the same on a machine that others load. Linux only.
    """
    found: dict[str, float] = {}
    for name, pid in pids.items() if sys.platform == "linux" else ():
        main = Path(f"/proc/{pid}/task/{pid}")
        lines = dict(one.split(":", 1) for one in (main / "status").read_text().splitlines())
        found[f"{name}_sleeps_per_job"] = float(lines["voluntary_ctxt_switches"])
        found[f"{name}_us_per_job"] = int((main / "schedstat").read_text().split()[0]) / 1e3
    return found


def _beside(tree: Path, jobs: int, rounds: int) -> None:
    from ops.bench import beside  # an older tree, which this file measures, too, has none

    pairs = beside.in_turn(tree, Path(__file__), ["--jobs", str(jobs)], rounds)
    publish(
        f"Unloaded latency over TCP (ms), medians of {rounds} rounds in turn",
        ("what", "before", "here", "over before"),
        beside.rows_of(pairs),
        {
            "over_before": beside.over_before(pairs, "p50_ms"),
            "p99_over_before": beside.over_before(pairs, "p99_ms"),
        },
        {},
    )


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
