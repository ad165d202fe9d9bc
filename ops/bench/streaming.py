"""Streaming: many answers that flow at once through one worker and one inbox; how late they arrive.

    python -m ops.bench.streaming [--jobs N] [--rate CHUNKS_PER_S] [--chunks N]

The worker's engine gives each request so many chunks a second and writes into each when it was
made; the client, one `AsyncClient` with a task for every job, subtracts. Both clocks are the
machine's monotonic one. The lag is the whole way: engine, desk, script, inbox, client, task.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import click

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.interface import Chunk, Done, Event, Host
from parallax.consumers.worker import Worker
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.core.settings import WorkerSettings
from parallax.engine.request import Consumed, Request
from parallax.lab.report import publish
from parallax.producers.client.async_client import AsyncClient
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

CLOCK = SystemClock()
#: Rounds of the engine's timer in a second: in each, every request whose chunk is due gets it.
TICKS_PER_S = 100


class StampEngine:
    """Gives every request `rate` chunks a second, each the time at which it was made."""

    name = "stamp"
    kv_capacity = 0
    kv_used = 0.0
    ready = True
    reads_bodies = False
    _host: Host

    def __init__(self, slots: int, rate: float) -> None:
        self.slots, self._rate = slots, rate
        self._running: dict[str, tuple[int, int, float]] = {}  # said, to say, when the next is due

    def start(self, host: Host) -> None:
        """See `interface.Engine`."""
        self._host = host
        self._tick()

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`. Requests come together and must not speak in unison."""
        phase = (len(self._running) * 0.618) % 1.0 / self._rate
        self._running[request.id] = (0, request.output_tokens or 1, now + phase)

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`."""
        said, *_ = self._running.pop(request_id, (0, 0, 0.0))
        return Consumed(output_tokens=said)

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {"rate": self._rate}

    def _tick(self) -> None:
        now, events = CLOCK.monotonic(), list[Event]()
        for name, (before, most, due) in list(self._running.items()):
            if due > now:
                continue
            said = before + 1
            events.append(Chunk(name, now, f"{now:.6f}".encode(), said))
            self._running[name] = (said, most, due + 1 / self._rate)
            if said == most:
                del self._running[name]
                events.append(Done(name, now, said, first_at=now))
        if events:
            self._host.tell(events)
        self._host.at(now + 1 / TICKS_PER_S, self._tick)


def work(url: str, cell: str, slots: int, rate: float) -> None:
    """Be the worker, until killed."""
    engine = StampEngine(slots, rate)
    worker = Worker(
        "stamp", (AsyncLink.to(url), Link.to(url)), Keys(cell), engine, WorkerSettings(), CLOCK
    )
    worker.start()
    asyncio.run(worker.live(lambda: False))


async def measure(url: str, cell: str, jobs: int, chunks: int) -> list[float]:
    """Stream all jobs at once; return the lag of every chunk, in seconds."""
    lags: list[float] = []

    async def one(client: AsyncClient) -> None:
        job = Job(tenant="bench", prompt_tokens=1, max_tokens=chunks, output_tokens=chunks)
        lags.extend([CLOCK.monotonic() - float(chunk) async for chunk in client.stream(job)])

    async with AsyncClient(url, cell) as client:
        await asyncio.gather(*(one(client) for _ in range(jobs)))
    return lags


@click.command()
@click.option("--jobs", default=1_000, show_default=True, help="Answers that flow at once.")
@click.option("--rate", default=30.0, show_default=True, help="Chunks a second of each.")
@click.option("--chunks", default=300, show_default=True, help="Chunks of each answer.")
@click.option("--work-for", nargs=2, hidden=True, help="Be the worker of this URL and cell.")
def main(jobs: int, rate: float, chunks: int, work_for: tuple[str, str] | None) -> None:
    """Measure how late chunks arrive."""
    if work_for:
        work(*work_for, jobs, rate)
        return
    plan = Plan(workers=0, schedulers=1, cell=uuid4().hex,
                scheduler_arguments=("--admission", "unlimited"))  # fmt: skip
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        url = server.start().url
        with System(plan, CLOCK, url=url, logs=Path(os.devnull)):
            command = [sys.executable, "-m", "ops.bench.streaming", "--jobs", str(jobs),
                       "--rate", str(rate), "--work-for", url, plan.cell]  # fmt: skip
            with subprocess.Popen(command) as worker:  # noqa: S603 - our own interpreter
                start = CLOCK.monotonic()
                lags = asyncio.run(measure(url, plan.cell, jobs, chunks))
                took_s = CLOCK.monotonic() - start
                worker.kill()
    p50, p99 = (quantile(lags, q) * 1e3 for q in (0.5, 0.99))
    own = resource.getrusage(resource.RUSAGE_SELF)
    client_us = (own.ru_utime + own.ru_stime) / len(lags) * 1e6
    asked = jobs * rate
    publish(
        f"Relay lag of {jobs} answers at {rate:g} chunks/s each (ms)",
        ("chunks", "asked for, chunks/s", "chunks/s", "lag p50", "lag p99", "client us/chunk"),
        [(len(lags), asked, len(lags) / took_s, p50, p99, client_us)],
        {"lag_p50_ms": round(p50, 2), "lag_p99_ms": round(p99, 2),
         "chunks_per_s": round(len(lags) / took_s)},
        {"every chunk arrived": len(lags) == jobs * chunks},
    )  # fmt: skip


if __name__ == "__main__":
    main()
