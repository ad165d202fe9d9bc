"""How long Redis is stopped by one call while a long list of jobs is submitted.

    python -m ops.bench.blocked [--jobs N]

Redis runs one command at a time, so a call of a script is how long everybody else waits. Redis says
itself how long each took (SLOWLOG), and how much of a processor it used: on a busy machine the
longest call is one during which the server was not on a processor. A private server of its own; the
last line is one JSON object.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

import click

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.model import MAX_PREFIX, Job
from parallax.lab.report import publish
from parallax.producers.client.batches import batches
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock

CEILING_MS = 20.0
KEPT = 100_000  # calls that the server remembers
SHORTEST_US = 500  # shorter calls, and what scripts call, are not noted: that would cost as much

Jobs = tuple[Sequence[Job], Mapping[str, bytes]]


def small(count: int) -> Jobs:
    """Return jobs as most are: no body, no prefix."""
    return [_job(f"small-{n}") for n in range(count)], {}


def with_bodies(count: int) -> Jobs:
    """Return jobs with a body of 4 kB, and some with one of 1 MB."""
    jobs = [_job(f"body-{n}") for n in range(count)]
    return jobs, {j.id: os.urandom(4_096 if n % 100 else 1_000_000) for n, j in enumerate(jobs)}


def with_prefixes(count: int) -> Jobs:
    """Return jobs with the longest prefix that there may be."""
    prefix = tuple(range(2**62, 2**62 + MAX_PREFIX))
    return [_job(f"prefix-{n}", prefix) for n in range(count)], {}


def _job(name: str, prefix: tuple[int, ...] = ()) -> Job:
    return Job(name, f"t{name[-1]}", max(300, 16 * len(prefix)), 80, prefix=prefix)


def measured(link: Link, url: str, make: Callable[[int], Jobs], count: int) -> tuple[object, ...]:
    """Submit so many jobs; return the row to print, the longest call (ms) last."""
    jobs, bodies = make(count)
    link.call("SLOWLOG", "RESET")
    start, busy = time.perf_counter(), _processor_s(link)
    with Client(url) as client:
        refused = [r for r in client.submit(jobs, bodies=bodies) if not r.accepted]
    took, busy = time.perf_counter() - start, _processor_s(link) - busy
    if refused:
        raise click.ClickException(f"{len(refused)} jobs were refused: {refused[0].error()}")
    calls = len(list(batches(jobs, bodies)))
    noted = link.call("SLOWLOG", "GET", KEPT)
    times = sorted(
        micros / 1000
        for _, _, micros, command, *_ in noted
        if command[0].upper() in {b"EVAL", b"EVALSHA"}
    ) or [SHORTEST_US / 1000]
    name = make.__name__.replace("_", " ")
    return name, count, calls, took, 1000 * busy / calls, times[len(times) // 2], times[-1]


def _processor_s(link: Link) -> float:
    """Return how many seconds of a processor the server has used."""
    lines = dict(
        line.split(":", 1) for line in link.call("INFO", "cpu").decode().split() if ":" in line
    )
    return float(lines["used_cpu_sys_main_thread"]) + float(lines["used_cpu_user_main_thread"])


@click.command()
@click.option("--jobs", default=100_000, show_default=True, help="Jobs without body or prefix.")
def main(jobs: int) -> None:
    """Submit long lists, and ask Redis how long each call took."""
    server = EmbeddedServer(SystemClock(), ephemeral=True)
    url = server.start().url
    link = Link.to(url)
    try:
        link.calls([("CONFIG", "SET", "slowlog-max-len", KEPT),
                    ("CONFIG", "SET", "slowlog-log-slower-than", SHORTEST_US)])  # fmt: skip
        lists = ((small, jobs), (with_bodies, jobs // 50), (with_prefixes, jobs // 500))
        rows = [measured(link, url, make, count) for make, count in lists]
    finally:
        link.close()
        server.stop()
    head = ("jobs", "count", "calls", "s", "processor, ms a call", "median, ms", "longest, ms")
    worst = max(float(str(row[4])) for row in rows)
    floors = {f"a call takes less of a processor than {CEILING_MS:g} ms": worst < CEILING_MS}
    figures = {
        row[0]: {"processor_ms": row[4], "median_ms": row[5], "longest_ms": row[6]} for row in rows
    }
    publish(
        "How long Redis is stopped", head, rows, {str(k): v for k, v in figures.items()}, floors
    )


if __name__ == "__main__":
    main()
