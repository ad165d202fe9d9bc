"""How long is work at a standstill after a kill?

    python -m ops.bench.recovery [--kills N]

A worker is killed in the middle of its jobs: the time until all of them run on others. The leader
is killed while jobs come in steadily: the time until a standby has sent one that came after. Each
N times, with SIGKILL, at moments that no clock of the system knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import click

from parallax.core.lifecycle import State
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

CLOCK = SystemClock()
HEARTBEAT_S, LEASE_S, ALLOWED_S = 2.0, 1.5, 1.0
LOOK_S, PATIENCE_S = 0.01, 30.0
WORKERS, JOBS = 4, 16  # of which half as many workers could run all


def plan(speed: str) -> Plan:
    """Return what runs: workers that take a minute for a job, or hardly any time."""
    worker = ("--engine", "clock", "--speed", speed, "--heartbeat", f"{HEARTBEAT_S}")
    scheduler = ("--lease", f"{LEASE_S}", "--heartbeat", f"{HEARTBEAT_S}")
    return Plan(WORKERS, 2, worker, scheduler)


def after_a_worker(kills: int) -> list[float]:
    """Kill workers, each with jobs; return how long these stood still (seconds)."""
    found, random = [], Random(1)
    with System(plan("0.05"), CLOCK, ephemeral=True, logs=Path(os.devnull)) as system:
        client = Client(system.url)
        for kill in range(kills):  # with new jobs each time: those of a worker that died are hurt
            system.await_workers(WORKERS)  # else jobs line up before the few that are back
            names = [f"long{kill}-{n}" for n in range(JOBS)]
            client.submit([Job(name, "t", 20, 4_000, output_tokens=4_000) for name in names])
            _until(system, lambda: _running(client, names) == JOBS)  # noqa: B023 - called at once
            CLOCK.wait(random.uniform(0.1, 0.6))
            records = {r.job_id: r.worker for r in client.records(names) if r is not None}
            victim = random.choice(sorted(set(records.values())))
            mine = [name for name, worker in records.items() if worker == victim]
            child = f"worker-{victim[1:].partition('-')[0]}"
            system.processes.kill(child)
            killed = CLOCK.monotonic()
            _until(system, lambda: _moved(client, mine, victim))  # noqa: B023 - called at once
            found.append(CLOCK.monotonic() - killed)
            for name in names:
                client.cancel(name)
        client.close()
    return found


def after_a_leader(kills: int) -> list[float]:
    """Kill leaders; return how long nothing was sent (seconds)."""
    found, random, made = [], Random(2), 0
    with System(plan("50"), CLOCK, ephemeral=True, logs=Path(os.devnull)) as system:
        client, processes = Client(system.url), system.processes
        for _ in range(kills):
            CLOCK.wait(random.uniform(0.1, 0.6))
            _until(system, lambda: len(processes.alive("scheduler")) == 2 and system.leader())
            processes.kill(system.leader() or "scheduler-1")
            killed = CLOCK.monotonic()
            made += 1
            name = f"next{made}"
            client.submit([Job(name, "t", 20, 10, output_tokens=5)])
            _until(system, lambda: _begun(client, name))  # noqa: B023 - called at once
            found.append(CLOCK.monotonic() - killed)
        client.close()
    return found


def _until(system: System, condition: Callable[[], object]) -> None:
    deadline = CLOCK.monotonic() + PATIENCE_S
    while not condition():
        system.watch()
        if CLOCK.monotonic() > deadline:
            raise click.ClickException("nothing moved for half a minute")
        CLOCK.wait(LOOK_S)


def _running(client: Client, names: list[str]) -> int:
    return sum(r is not None and r.state is State.RUNNING for r in client.records(names))


def _moved(client: Client, names: list[str], victim: str) -> bool:
    return all(
        r is not None and r.state is State.RUNNING and r.worker != victim
        for r in client.records(names)
    )


def _begun(client: Client, name: str) -> bool:
    (record,) = client.records([name])
    return record is not None and record.started is not None


@click.command()
@click.option("--kills", default=30, show_default=True, help="Kills of each kind.")
def main(kills: int) -> None:
    """Measure both, and compare with the promise."""
    workers, leaders = after_a_worker(kills), after_a_leader(kills)
    rows, floors, figures = [], {}, {}
    for what, times, allowed in (
        ("worker", workers, HEARTBEAT_S + ALLOWED_S),
        ("leader", leaders, LEASE_S + ALLOWED_S),
    ):
        p99 = quantile(times, 0.99)
        rows.append((what, len(times), quantile(times, 0.5), p99, max(times), allowed))
        floors[f"{what}: p99 <= {allowed:g} s"] = p99 <= allowed
        figures[f"{what}_p99_s"] = round(p99, 3)
    publish(
        f"Seconds at a standstill (heartbeat {HEARTBEAT_S:g} s, lease {LEASE_S:g} s)",
        ("killed", "times", "p50", "p99", "most", "allowed"), rows, figures, floors,
    )  # fmt: skip


if __name__ == "__main__":
    main()
