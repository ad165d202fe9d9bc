"""No-op jobs per second, end to end, beside other Python queues and beside the machine's limit.

    python -m ops.bench.queue [--jobs N] [--rounds N] [--only NAME ...]

One server for all, with the same durability (append-only file, fsync every second), over TCP on the
loopback; one worker process each (Parallax: one scheduler and one worker); every queue tuned as its
documentation says (see `ops/bench/peers/`); rounds in turn, and the median of each counts. The
clock runs from the first submission until the producer can read the results of all jobs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from ops.bench.limit import Limit, Raw, pipeline, redis_cpu
from ops.bench.report import publish
from parallax.broker.embedded import EmbeddedServer
from parallax.broker.limits import Limits
from parallax.core.errors import Unreachable
from parallax.core.model import Job
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from producers.client import Client

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
#: queue -> (jobs in a round, what becomes of a job whose worker is killed)
PEERS = {
    "rq": (500, "kept"), "arq": (2_000, "kept"), "saq": (2_000, "kept"),
    "taskiq": (2_000, "kept"), "dramatiq": (2_000, "kept"), "huey": (2_000, "lost"),
}  # fmt: skip
OURS = "parallax"
BATCH = 200
PEER_TIMEOUT_S = 120
DURABLE_FLOOR, HUEY_FLOOR = 5.0, 3.0


@dataclass(slots=True)
class Tally:
    """What was measured of one queue; `why` it failed, if it did."""

    rates: list[float] = field(default_factory=list)
    why: str = ""


@dataclass(slots=True)
class Cost:
    """CPU microseconds per job of Parallax, by process, in the last round."""

    by_process: dict[str, float] = field(default_factory=dict)


def peer_round(name: str, url: str) -> float:
    """Run one round of a peer; return jobs/s. Raises OSError or a subprocess error."""
    jobs, _ = PEERS[name]
    command = [str(PEERS_PYTHON), "-m", f"ops.bench.peers.{name}_queue"]
    with _child([*command, "work", url]):
        done = subprocess.run(  # noqa: S603 - our own script
            [*command, "produce", url, str(jobs)],
            cwd=ROOT, capture_output=True, text=True, timeout=PEER_TIMEOUT_S, check=True,
        )  # fmt: skip
    return jobs / float(json.loads(done.stdout.splitlines()[-1])["seconds"])


@contextmanager
def _child(command: list[str]) -> Iterator[None]:
    child = subprocess.Popen(  # noqa: S603 - our own script
        command, cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def our_round(url: str, jobs: int, cost: Cost) -> float:
    """Run one round of Parallax; return jobs/s and note what each process used."""
    plan = Plan(
        workers=1,
        schedulers=1,
        worker_arguments=("--engine", "noop"),
        scheduler_arguments=("--admission", "unlimited"),
        cell="bench",
    )
    client = Client(url, "bench", Limits(max_depth=10 * jobs))
    raw = Raw(url)
    with System(plan, CLOCK, url=url, logs=Path(os.devnull)) as system:
        pids = {name: child.process.pid for name, child in system.fleet.children.items()}
        _through(client, jobs // 10, "warm")
        before, server = _cpu(pids), redis_cpu(raw)
        start = CLOCK.monotonic()
        _through(client, jobs, "job")
        seconds = CLOCK.monotonic() - start
        used = {name: after - before[name] for name, after in _cpu(pids).items()}
    client.close()
    used["redis"] = redis_cpu(raw) - server
    cost.by_process = {name: value / jobs * 1e6 for name, value in used.items()}
    return jobs / seconds


def _through(client: Client, jobs: int, prefix: str) -> None:
    sent = ended = 0
    heard = CLOCK.monotonic()
    while ended < jobs:
        if sent < jobs:
            numbers = range(sent, min(jobs, sent + BATCH))
            batch = [Job(f"{prefix}-{n}", "bench", 10, 20, output_tokens=1) for n in numbers]
            sent += sum(receipt.accepted for receipt in client.submit(batch))
        news = len(client.news(0 if sent < jobs else 500))
        ended += news
        heard = CLOCK.monotonic() if news else heard
        if CLOCK.monotonic() - heard > 60:
            raise Unreachable("no job ended within 60 s")


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    used = {"producer": sum(os.times()[:2])}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[name.partition("-")[0]] = (int(fields[11]) + int(fields[12])) / ticks
    return used


@click.command()
@click.option("--jobs", default=20_000, show_default=True, help="Jobs of Parallax in a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each queue.")
@click.option("--only", multiple=True, help="Only this queue (may be repeated).")
def main(jobs: int, rounds: int, only: tuple[str, ...]) -> None:
    """Measure Parallax beside rq, arq, saq, taskiq, dramatiq and huey."""
    names = [name for name in (OURS, *PEERS) if not only or name in only]
    tallies = {name: Tally() for name in names}
    cost, limits, redis_us = Cost(), [], []
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        url = server.start().tcp_url
        raw = Raw(url)
        for n in range(rounds):
            for name, tally in tallies.items():
                raw.calls([("FLUSHALL",)])
                click.echo(f"round {n + 1} of {rounds}: {name}", err=True)
                _measure(name, tally, url, jobs, cost)
                if name == OURS:
                    redis_us.append(cost.by_process["redis"])
            limits.append(pipeline(url, 100, 5 * jobs // 2, groups=False))
    _report(tallies, cost, limits, redis_us)


def _measure(name: str, tally: Tally, url: str, jobs: int, cost: Cost) -> None:
    try:
        rate = our_round(url, jobs, cost) if name == OURS else peer_round(name, url)
        tally.rates.append(rate)
    except subprocess.CalledProcessError as error:
        tally.why = (error.stderr.strip().splitlines() or ["it failed"])[-1]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        tally.why = str(error)


def _report(
    tallies: dict[str, Tally], cost: Cost, limits: list[Limit], redis_us: list[float]
) -> None:
    rates = {name: median(tally.rates) for name, tally in tallies.items() if tally.rates}
    ours = rates.pop(OURS, 0.0)
    durable = [rate for name, rate in rates.items() if PEERS[name][1] == "kept"]
    to_durable = ours / max(durable) if durable else None
    to_huey = ours / rates["huey"] if "huey" in rates else None
    limit = median(limit.jobs_per_s for limit in limits)
    rows: list[tuple[object, ...]] = [
        (name, "kept" if name == OURS else PEERS[name][1], median(tally.rates), min(tally.rates),
         max(tally.rates))
        for name, tally in tallies.items() if tally.rates
    ]  # fmt: skip
    rows += [(name, tally.why[:60], None, None, None) for name, tally in tallies.items()
             if not tally.rates]  # fmt: skip
    rows.append(("bare pipeline", "lost", limit, *(pick(way.jobs_per_s for way in limits)
                                                   for pick in (min, max))))  # fmt: skip
    rows += [(f"CPU of {name} (us/job)", None, us, None, None)
             for name, us in cost.by_process.items()]  # fmt: skip
    figures = {
        "parallax_jobs_per_s": round(ours),
        "peers": {name: round(rate) for name, rate in rates.items()},
        "ratio_to_fastest_durable": _rounded(to_durable),
        "ratio_to_huey": _rounded(to_huey),
        "share_of_limit": round(ours / limit, 3),
        "redis_us_per_job": round(median(redis_us), 1) if redis_us else None,
        "cpu_us_per_job": {name: round(us, 1) for name, us in cost.by_process.items()},
        "failed": {name: tally.why for name, tally in tallies.items() if tally.why},
    }
    floors = {}
    if to_durable is not None:
        floors[f"ratio_to_fastest_durable >= {DURABLE_FLOOR:g}"] = to_durable >= DURABLE_FLOOR
    if to_huey is not None:
        floors[f"ratio_to_huey >= {HUEY_FLOOR:g}"] = to_huey >= HUEY_FLOOR
    head = ("queue", "job of a killed worker", "median", "min", "max")
    publish("No-op jobs per second, end to end", head, rows, figures, floors)


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 2)


if __name__ == "__main__":
    main()
