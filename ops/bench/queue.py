"""No-op jobs per second, end to end, beside other Python queues and beside the machine's limit.

    python -m ops.bench.queue [--jobs N] [--rounds N] [--only NAME ...] [--beside TREE]

One server for all, with the same durability (append-only file, fsync every second), over TCP on the
loopback; one worker process each (Parallax: one scheduler and one worker); every queue tuned as its
documentation says (see `ops/bench/peers/`); rounds in turn, and the median of each counts. The
clock runs from the first submission until the producer can read the results of all jobs; before it,
each queue is connected and warmed up with a tenth of the jobs.

With `--beside` another tree of Parallax takes turns with this one and there are no peers:
`over_before` is the median of how many times as many jobs a second pass here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import click

from ops.bench.limit import Raw, pipeline, redis_cpu
from ops.bench.peers.rounds import AGAIN, LOST, PEERS, Broken, peer_round
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.limits import Limits
from parallax.cli.output import show
from parallax.core.errors import ParallaxError, StoreFault, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

CLOCK = SystemClock()
OURS, LIMIT = "parallax", "bare pipeline"
NAMES = (OURS, *(peer.name for peer in PEERS))
FATES = {OURS: AGAIN, LIMIT: LOST} | {peer.name: peer.fate for peer in PEERS}
DURABLE = {peer.name for peer in PEERS if peer.durable}
BATCH = 200
BESIDE_JOBS, BESIDE_ROUNDS = 2_000, 30  # beside another tree
SILENCE_S = 60.0
DURABLE_FLOOR, HUEY_FLOOR = 5.0, 3.0
FAULTS = (ParallaxError, Broken, OSError, EOFError, subprocess.SubprocessError, ValueError)


@dataclass(slots=True)
class Tally:
    """The measurements of one queue, jobs/s by round; `why` a round failed, if one did."""

    rates: list[float] = field(default_factory=list)
    why: str = ""

    def measure(self, prepare: Callable[[], object], attempt: Callable[[], float]) -> None:
        """Make a round; a fault is noted and ends nothing."""
        try:
            prepare()
            self.rates.append(attempt())
        except FAULTS as fault:
            self.why = " ".join(str(fault).split()) or type(fault).__name__


Costs = dict[str, list[float]]  # CPU microseconds per job of Parallax by process, one a round


@contextmanager
def running(url: str, jobs: int) -> Iterator[Callable[[], tuple[float, dict[str, float]]]]:
    """Yield what sends so many jobs through: jobs/s, and CPU microseconds a job by process."""
    plan = Plan(
        workers=1,
        schedulers=1,
        worker_arguments=("--engine", "noop"),
        scheduler_arguments=("--admission", "unlimited"),
        cell="bench",
    )
    with (
        System(plan, CLOCK, url=url, logs=Path(os.devnull)) as system,
        closing(Client(url, "bench", Limits(max_depth=10 * jobs))) as client,
        closing(Raw(url)) as raw,
    ):
        pids = {name: child.process.pid for name, child in system.processes.children.items()}
        _through(client, jobs // 10, "warm")
        names = map("job-{}".format, count())

        def one_round() -> tuple[float, dict[str, float]]:
            before, start = _cpu(pids, raw), CLOCK.monotonic()
            _through(client, jobs, next(names))
            seconds = CLOCK.monotonic() - start
            used = {name: total - before[name] for name, total in _cpu(pids, raw).items()}
            return jobs / seconds, {name: total / jobs * 1e6 for name, total in used.items()}

        yield one_round


def our_round(url: str, jobs: int, costs: Costs) -> float:
    """Run one round of Parallax; return jobs/s and note what each process used."""
    with running(url, jobs) as one_round:
        rate, used = one_round()
    for name, each in used.items():
        costs.setdefault(name, []).append(each)
    return rate


def _through(client: Client, jobs: int, prefix: str) -> None:
    sent = ended = 0
    heard = CLOCK.monotonic()
    while ended < jobs:
        if sent < jobs:
            numbers = range(sent, min(jobs, sent + BATCH))
            batch = [Job(f"{prefix}-{n}", "bench", 10, 20, output_tokens=1) for n in numbers]
            if not all(receipt.accepted for receipt in client.submit(batch)):
                raise StoreFault("a job was not accepted")
            sent += len(batch)
        news = client.news(0 if sent < jobs else 500)
        if any(completion.outcome is not Outcome.COMPLETED for completion in news):
            raise StoreFault("a job ended otherwise than completed")
        ended += len(news)
        heard = CLOCK.monotonic() if news else heard
        if CLOCK.monotonic() - heard > SILENCE_S:
            raise Unreachable(f"no job ended within {SILENCE_S:g} s")


def _cpu(pids: dict[str, int], raw: Raw) -> dict[str, float]:
    """Return the seconds of CPU used: by ourselves, the server, and (on Linux) the children."""
    used = {"producer": sum(os.times()[:2]), "redis": redis_cpu(raw)}
    for name, pid in pids.items() if sys.platform == "linux" else ():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        used[name.partition("-")[0]] = ticks / os.sysconf("SC_CLK_TCK")
    return used


@click.command()
@click.option("--jobs", type=click.IntRange(min=100), default=20_000, show_default=True,
              help="Jobs of Parallax in a round.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True,
              help="Rounds of each queue.")  # fmt: skip
@click.option("--only", type=click.Choice(NAMES), multiple=True,
              help="Only this queue (may be repeated).")  # fmt: skip
@click.option("--beside", "tree", type=click.Path(exists=True, path_type=Path),
              help="Another tree of Parallax, in turn with this one.")  # fmt: skip
@click.option("--paced", is_flag=True, hidden=True)
def main(jobs: int, rounds: int, only: tuple[str, ...], tree: Path | None, paced: bool) -> None:
    """Measure Parallax beside rq, arq, saq, taskiq, dramatiq and huey."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    if paced:
        _paced(jobs)
        return
    if tree is not None:
        _beside(tree, min(jobs, BESIDE_JOBS), BESIDE_ROUNDS)
        return
    tallies = {name: Tally() for name in (*NAMES, LIMIT) if not only or name in (*only, LIMIT)}
    costs: Costs = {}
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        url = server.start().tcp_url
        attempts: dict[str, Callable[[], float]] = {
            OURS: lambda: our_round(url, jobs, costs),
            LIMIT: lambda: pipeline(url, 100, 5 * jobs // 2, groups=False).jobs_per_s,
        }
        attempts |= {peer.name: lambda peer=peer: peer_round(peer, url) for peer in PEERS}  # type: ignore[misc]
        with closing(Raw(url)) as raw:
            for n in range(rounds):
                for name, tally in tallies.items():
                    click.echo(f"round {n + 1} of {rounds}: {name}", err=True)
                    tally.measure(lambda: raw.calls([("FLUSHALL",)]), attempts[name])
    _report(tallies, costs)


def _paced(jobs: int) -> None:
    """Run a round whenever a line comes; print jobs/s, and CPU microseconds a job by process."""
    with (
        EmbeddedServer(CLOCK, ephemeral=True) as server,
        running(server.start().tcp_url, jobs) as one_round,
    ):
        for _ in sys.stdin:
            rate, used = one_round()
            each = {f"{name}_us_per_job": us for name, us in used.items()}
            figures = {"jobs_per_s": rate, "cpu_us_per_job": sum(used.values()), **each}
            print(json.dumps(figures), flush=True)


def _beside(tree: Path, jobs: int, rounds: int) -> None:
    from ops.bench import beside  # an older tree, which this file measures, too, has none

    pairs = beside.in_turn(tree, Path(__file__), ["--jobs", str(jobs)], rounds)
    figures = {
        f"{name}_over_before": beside.over_before(pairs, name)
        for name in pairs[0][1]
        if name != "jobs_per_s"
    }
    publish(
        f"No-op jobs, medians of {rounds} rounds in turn",
        ("what", "before", "here", "over before"),
        beside.rows_of(pairs),
        {"over_before": beside.over_before(pairs, "jobs_per_s"), **figures},
        {},
    )


def _report(tallies: dict[str, Tally], costs: Costs) -> None:
    rates = {name: median(tally.rates) for name, tally in tallies.items() if tally.rates}
    failed = {name: tally.why for name, tally in tallies.items() if tally.why}
    spent = {name: median(used) for name, used in costs.items()}
    ours, limit = rates.pop(OURS, None), rates.pop(LIMIT, None)
    to_durable = _ratio(ours, max((rates[n] for n in rates if n in DURABLE), default=None))
    to_huey = _ratio(ours, rates.get("huey"))
    figures = {
        "parallax_jobs_per_s": None if ours is None else round(ours),
        "peers": {name: round(rate) for name, rate in rates.items()},
        "ratio_to_fastest_durable": to_durable,
        "ratio_to_huey": to_huey,
        "share_of_limit": _ratio(ours, limit),
        "redis_us_per_job": round(spent["redis"], 1) if spent else None,
        "cpu_us_per_job": {name: round(us, 1) for name, us in spent.items()},
        "failed": failed,
    }
    # A floor stands for every queue it was asked to be measured against: one that failed misses it.
    floors = _floors(tallies, failed, DURABLE, "fastest_durable", to_durable, DURABLE_FLOOR)
    floors |= _floors(tallies, failed, {"huey"}, "huey", to_huey, HUEY_FLOOR)
    where = [(f"CPU of Parallax: {name}", us) for name, us in spent.items()]
    show(None, as_json=False, title="Where the time goes", head=("process", "us/job"), rows=where)
    head = ("queue", "job of a killed worker", "median", "min", "max", "failed")
    rows = [_row(name, tally) for name, tally in tallies.items()]
    publish("No-op jobs per second, end to end", head, rows, figures, floors)


def _row(name: str, tally: Tally) -> Sequence[object]:
    rates = tally.rates
    measured = (median(rates), min(rates), max(rates)) if rates else (None, None, None)
    return (name, FATES[name], *measured, tally.why[:80] or None)


def _floors(
    asked: Iterable[str], failed: Iterable[str], against: set[str], what: str,
    ratio: float | None, floor: float,
) -> dict[str, bool]:  # fmt: skip
    peers = against & set(asked)
    if OURS not in asked or not peers:
        return {}
    sound = not ({OURS} | peers) & set(failed)
    return {f"ratio_to_{what} >= {floor:g}": sound and ratio is not None and ratio >= floor}


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else round(ours / theirs, 3)


if __name__ == "__main__":
    main()
