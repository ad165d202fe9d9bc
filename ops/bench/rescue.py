"""Do the rescuers rescue, live? Each beside the same load without it.

    python -m ops.bench.rescue

* Hedging: 2 % of executions are ten times slower. The 99th percentile of E2E, and the extra
  attempts.
* Stealing: jobs of random length on workers with one slot each, placed by chance and at once. The
  mean time in the system over that of one queue for all workers (M/M/n, Erlang C).
* Locality: turns of conversations, and a worker that is killed half-way under `kv_locality`. Turns
  that find less than half of what was said before in a cache: those of conversations that were at
  home on the worker, once each, and no others. Under `round_robin`, anybody's, at any time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import factorial
from pathlib import Path
from random import Random
from statistics import mean

import click

from parallax.broker.store.results import Record
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.producers.load.crashes import Crash
from parallax.producers.load.drive import Sample
from parallax.producers.load.live import Live
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

CLOCK = SystemClock()
SESSIONS, TURN_TOKENS, PAUSE_S = 48, 300, 2.0
Timed = tuple[float, Job]


@dataclass(frozen=True, slots=True)
class Lived:
    """The results of a load."""

    samples: dict[str, Sample]
    counts: dict[str, int]
    records: list[Record]
    killed: str = ""  # the beginning of a worker's name

    @property
    def e2e(self) -> list[float]:
        """Seconds in the system, of all jobs that completed."""
        return [s.e2e for s in self.samples.values() if s.e2e is not None]


def live(
    jobs: Sequence[Timed], workers: int, worker: Sequence[str], *scheduler: str, kill_after: int = 0
) -> Lived:
    """Run a load on real processes; after so many jobs, if any, kill a worker."""
    plan = Plan(workers, 1, ("--engine", "clock", *worker), scheduler)
    crashes = [Crash("worker", kill_after)] if kill_after else []
    with System(plan, CLOCK, ephemeral=True, logs=Path(os.devnull)) as system:
        run = Live(system.url, "main", CLOCK, system, crashes).run(jobs)
        client = Client(system.url)
        counts = client.counts()
        records = [r for r in client.records([job.id for _, job in jobs]) if r is not None]
        client.close()
    killed = f"w{crashes[0].done.partition('-')[2]}-" if crashes else ""
    return Lived(run.samples, counts, records, killed)


def poisson(
    rate: float, seconds: float, seed: int, mean_output: int, *, fixed: bool
) -> list[Timed]:
    """Return jobs that come at random, with answers of one length or of exponential ones."""
    random, jobs, at = Random(seed), list[Timed](), 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        length = mean_output if fixed else max(1, round(random.expovariate(1 / mean_output)))
        jobs.append((at, Job(f"p{len(jobs)}", "t", 1, 100_000, output_tokens=length)))
    return jobs


def hedging(seconds: float) -> tuple[list[object], dict[str, float], dict[str, bool]]:
    """Compare hedging with none."""
    jobs = poisson(22.0, seconds, 1, 400, fixed=True)
    # One slot: a slow execution in a batch makes everybody in it slow, hedged or not.
    worker = ("--slow", "0.02:10:7", "--profile", "laptop", "--slots", "1")
    off = live(jobs, 8, worker)
    on = live(jobs, 8, worker, "--hedging", "percentile")
    before, after = quantile(off.e2e, 0.99), quantile(on.e2e, 0.99)
    cut, extra = 1 - after / before, on.counts.get("hedged", 0) / len(jobs)
    row: list[object] = [
        "hedging: p99 of E2E (s)",
        before,
        after,
        f"-{cut:.0%}",
        f"{extra:.1%} extra",
    ]
    return (
        row, {"hedging_cut": round(cut, 3), "hedging_extra": round(extra, 4)},
        {"hedging cuts p99 by >= 40 %": cut >= 0.40, "hedging: <= 6 % extra": extra <= 0.06},
    )  # fmt: skip


def stealing(seconds: float) -> tuple[list[object], dict[str, float], dict[str, bool]]:
    """Compare stealing with none, on a load that is badly placed, and both with one queue."""
    n, load, mean_output = 4, 0.7, 300
    service_s = service_of(mean_output)
    jobs = poisson(load * n / service_s, seconds, 2, mean_output, fixed=False)
    worker = ("--profile", "laptop", "--slots", "1")
    badly = ("--routing", "random", "--set", "gate.prefetch=1000", "--ordering", "fcfs")
    off = live(jobs, n, worker, *badly)
    on = live(jobs, n, worker, *badly, "--stealing", "steal_half")
    best = mm_n(load, n) * service_s
    without, with_ = mean(off.e2e) / best, mean(on.e2e) / best
    row: list[object] = ["stealing: mean over M/M/n", without, with_, f"{with_ / without - 1:.0%}",
                         f"{on.counts.get('stolen', 0)} stolen"]  # fmt: skip
    return (
        row, {"stealing_over_mmn": round(with_, 3), "control_over_mmn": round(without, 3)},
        {"stealing: mean <= 1.25 of M/M/n": with_ <= 1.25, "its control is worse": without > 1.25},
    )  # fmt: skip


def service_of(output: int) -> float:
    """Return how long an answer of that length takes alone, by running ten of them."""
    jobs = [(n * 0.2, Job(f"s{n}", "t", 1, 100_000, output_tokens=output)) for n in range(10)]
    done = live(jobs, 1, ("--profile", "laptop", "--slots", "1"))
    services = [s.e2e - s.wait for s in done.samples.values() if s.e2e is not None and s.wait]
    return mean(services)


def mm_n(load: float, n: int) -> float:
    """Return the mean time in an M/M/n queue, in mean services (Erlang C)."""
    offered = load * n
    terms = list(accumulate(range(1, n), lambda term, k: term * offered / k, initial=1.0))
    last = offered**n / factorial(n) / (1 - load)
    return 1 + last / (sum(terms) + last) / (n * (1 - load))


def conversations(seconds: float) -> list[Timed]:
    """Return turns that say all that was said before, and a little more."""
    turns = max(4, int(seconds / PAUSE_S))
    return [
        (
            (turn + n / SESSIONS) * PAUSE_S,
            Job(f"c{turn}-{n}", "t", TURN_TOKENS * (turn + 1), 100, f"s{n}", output_tokens=20),
        )
        for turn in range(turns)
        for n in range(SESSIONS)
    ]


def misses(lived: Lived, since: int) -> tuple[float, float, float]:
    """Return the misses of a conversation from turn `since` on: at home with the killed, or not.

    Both are means over conversations; with them the share of all turns before that missed.
    """
    missed: dict[tuple[int, int], bool] = {}
    homes: dict[int, str] = {}
    for record in sorted(lived.records, key=lambda record: record.accepted):
        turn, session = (int(part) for part in record.job_id[1:].split("-"))
        missed[turn, session] = record.report.cached_tokens < TURN_TOKENS * turn / 2
        if turn < since:
            homes[session] = record.worker
    orphans = {n for n, worker in homes.items() if worker.startswith(lived.killed)}
    later = [(n, miss) for (turn, n), miss in missed.items() if turn >= since]
    of_orphans = sum(miss for n, miss in later if n in orphans) / max(1, len(orphans))
    others = sum(miss for n, miss in later if n not in orphans) / max(1, SESSIONS - len(orphans))
    return of_orphans, others, mean(miss for (turn, _), miss in missed.items() if 0 < turn < since)


def locality(seconds: float) -> tuple[list[object], dict[str, float], dict[str, bool]]:
    """Kill a worker in the middle of conversations, under `kv_locality` and under `round_robin`."""
    jobs = conversations(seconds)
    since = len(jobs) // SESSIONS // 2
    worker = ("--profile", "llama3-8b-a100")
    found = {
        policy: misses(
            live(jobs, 4, worker, "--routing", policy, kill_after=since * SESSIONS), since
        )
        for policy in ("round_robin", "kv_locality")
    }
    (_, without, _), (own, others, _) = found["round_robin"], found["kv_locality"]
    row: list[object] = ["locality: misses of others after a kill", without, others, "",
                         f"{own:.2f} of its own"]  # fmt: skip
    return (
        row,
        {"misses_of_others": round(others, 3), "misses_of_its_own": round(own, 3),
         "control_misses_of_others": round(without, 3)},
        {"a killed worker costs others <= 0.05 misses each": others <= 0.05,
         "and its own at least half a miss": own >= 0.5,
         "its control costs more than one": without > 1.0},
    )  # fmt: skip


@click.command()
@click.option("--seconds", default=40.0, show_default=True, help="Length of each run.")
def main(seconds: float) -> None:
    """Measure all, each beside its control."""
    rows, figures, floors = [], dict[str, object](), dict[str, bool]()
    for measure in (hedging, stealing, locality):
        row, found, met = measure(seconds)
        rows.append(row)
        figures |= found
        floors |= met
    head = ("what", "without", "with", "change", "")
    publish("Rescuers on real processes", head, rows, figures, floors)


if __name__ == "__main__":
    main()
