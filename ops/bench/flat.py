"""Does the cost of a job grow with the number of registered tenants, or with the backlog?

    python -m ops.bench.flat [--backlog N] [--tenants N] [--jobs N] [--rounds N]

Three cells on one server: a small one (10 tenants, 1,000 waiting jobs), one with many registered
tenants of which 10 are active, and one with a long backlog. Each is measured in turn, several times
over, by a closed loop: whenever a job ends another is submitted, so that the backlog stays what it
is. A cell's processes run only while it is measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from statistics import median

import click

from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.limits import Limits
from parallax.core.errors import Unreachable
from parallax.core.model import Job
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

ACTIVE = 10
TENANTS = [f"t{n}" for n in range(ACTIVE)]
SMALL = 1_000
BATCH = 200
TENANTS_FLOOR, BACKLOG_FLOOR, MEMORY_CEILING_MB = 0.9, 0.8, 200.0
CLOCK = SystemClock()


@dataclass(slots=True)
class Bench:
    """A cell that is measured: its name, and how many jobs wait in it."""

    url: str
    cell: str
    backlog: int
    rates: list[float] = field(default_factory=list)
    memory_mb: float = 0.0
    waiting: int = 0
    _ids: Iterator[int] = field(default_factory=count)
    _client: Client = field(init=False)  # one for all rounds: its inbox hears of every end

    def __post_init__(self) -> None:
        self._client = Client(self.url, self.cell, Limits(max_depth=10 * self.backlog))

    def jobs(self, tenants: Sequence[str]) -> Iterator[Job]:
        """Yield jobs without end, of each tenant in turn."""
        for n in self._ids:
            yield Job(f"{self.cell}-{n}", tenants[n % len(tenants)], 10, 20, output_tokens=1)

    def fill(self, tenants: Sequence[str], level: int) -> None:
        """Submit until so many jobs wait."""
        jobs = self.jobs(tenants)
        while self.waiting < level:
            batch = list(islice(jobs, min(BATCH, level - self.waiting)))
            self.waiting += sum(receipt.accepted for receipt in self._client.submit(batch))

    def register(self, tenants: int) -> None:
        """Register tenants, and let each of them have been served once."""
        names = [f"t{n}" for n in range(tenants)]
        self._client.set_weights(dict.fromkeys(names, 1.0))
        self.fill(names, tenants)
        self.round(tenants - self.backlog)
        self.rates.clear()

    def round(self, ends: int) -> None:
        """Run the cell until so many jobs have ended, after a warm-up; note rate and memory."""
        plan = Plan(
            workers=1,
            schedulers=1,
            worker_arguments=("--engine", "noop"),
            scheduler_arguments=("--admission", "unlimited"),
            cell=self.cell,
        )
        with System(plan, CLOCK, url=self.url, logs=Path(os.devnull)) as system:
            self._keep_level(ends)  # the windows fill, caches warm
            start = CLOCK.monotonic()
            ended = self._keep_level(ends)
            self.rates.append(ended / (CLOCK.monotonic() - start))
            pid = system.processes.children["scheduler-1"].process.pid
            self.memory_mb = max(self.memory_mb, resident_mb(pid))

    def _keep_level(self, ends: int) -> int:
        ended, heard = 0, CLOCK.monotonic()
        while ended < ends:
            self.fill(TENANTS, self.backlog)
            news = len(self._client.news(100))
            self.waiting -= news
            ended += news
            heard = CLOCK.monotonic() if news else heard
            if CLOCK.monotonic() - heard > 60:
                raise Unreachable(f"no job of cell {self.cell} ended within 60 s")
        return ended


def paired(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return the median ratio of neighbours in time: a noisy machine drifts, neighbours less."""
    return median(rate / other for rate, other in zip(rates, others, strict=True))


def resident_mb(pid: int) -> float:
    """Return the memory a process occupies (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@click.command()
@click.option("--backlog", default=1_000_000, show_default=True, help="Jobs of the long backlog.")
@click.option("--tenants", default=10_000, show_default=True, help="Registered tenants.")
@click.option("--jobs", default=20_000, show_default=True, help="Jobs measured in a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each cell.")
def main(backlog: int, tenants: int, jobs: int, rounds: int) -> None:
    """Measure routed jobs per second beside many tenants and beside a long backlog."""
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        url = server.start().url
        small, many = Bench(url, "small", SMALL), Bench(url, "many", SMALL)
        beside, long = Bench(url, "beside", SMALL), Bench(url, "long", backlog)
        many.register(tenants)
        for _ in range(rounds):
            small.round(jobs)
            many.round(jobs)
        long.fill(TENANTS, backlog)
        for _ in range(rounds):
            beside.round(jobs)
            long.round(jobs)
    _report(small, many, beside, long, tenants)


def _report(small: Bench, many: Bench, beside: Bench, long: Bench, tenants: int) -> None:
    tenants_ratio = paired(many.rates, small.rates)
    backlog_ratio = paired(long.rates, beside.rates)
    growth = max(0.0, long.memory_mb - beside.memory_mb)
    rows = [
        (f"{what}, {bench.backlog:,} waiting", median(bench.rates), min(bench.rates),
         max(bench.rates), bench.memory_mb)
        for what, bench in (
            (f"{ACTIVE} tenants", small), (f"{tenants:,} tenants, {ACTIVE} active", many),
            (f"{ACTIVE} tenants, again", beside), (f"{ACTIVE} tenants", long),
        )
    ]  # fmt: skip
    publish(
        "Flat cost (jobs/s end to end, one scheduler, one worker)",
        ("cell", "median", "min", "max", "scheduler MB"),
        rows,
        {
            "tenants_ratio": round(tenants_ratio, 3),
            "backlog_ratio": round(backlog_ratio, 3),
            "memory_growth_mb": round(growth, 1),
            "jobs_per_s": {b.cell: round(median(b.rates)) for b in (small, many, beside, long)},
        },
        {
            f"tenants_ratio >= {TENANTS_FLOOR}": tenants_ratio >= TENANTS_FLOOR,
            f"backlog_ratio >= {BACKLOG_FLOOR}": backlog_ratio >= BACKLOG_FLOOR,
            f"memory_growth_mb < {MEMORY_CEILING_MB:g}": growth < MEMORY_CEILING_MB,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
