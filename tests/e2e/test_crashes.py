"""Real processes, killed, paused and stopped: every accepted job has exactly one end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from tests.integration.processes import is_gone
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

#: Slow enough that every worker holds jobs when something happens to it.
WORKER = ("--engine", "clock", "--speed", "0.2", "--heartbeat", "2")
SCHEDULER = ("--lease", "1", "--heartbeat", "2")
PLAN = Plan(3, 2, WORKER, SCHEDULER, durability="always")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def system() -> Iterator[System]:
    with System(PLAN, SystemClock(), ephemeral=True, logs=Path(os.devnull)) as system:
        yield system


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    client = Client(system.url)
    yield client
    client.close()


def jobs(count: int) -> list[Job]:
    return [Job(f"j{n}", f"t{n % 3}", 200, 400, output_tokens=50 + n % 100) for n in range(count)]


def all_ended(client: Client, system: System, names: list[str]) -> list[Outcome | None]:
    """Wait until every record is terminal; what died is started again meanwhile."""

    def ended() -> bool:
        system.watch()
        try:
            records = client.records(names)
        except Unreachable:  # the server is being started again
            return False
        return all(record is not None and record.outcome for record in records)

    wait_until(ended, "all records to be terminal", timeout_s=90.0)
    return [record.outcome for record in client.records(names) if record is not None]


def told_once(client: Client, names: list[str]) -> bool:
    """Whether the inbox told of each end exactly once."""
    told = [completion.job_id for completion in client.news(0)]
    return sorted(told) == sorted(names)


def test_without_faults_every_job_runs_once(system: System, client: Client) -> None:
    names = [job.id for job in jobs(200)]
    client.submit(jobs(200))
    assert set(all_ended(client, system, names)) == {Outcome.COMPLETED}
    assert told_once(client, names)
    assert {record.attempts for record in client.records(names) if record} == {1}
    assert client.counts().get("late", 0) == 0


@pytest.mark.parametrize("victim", ["worker", "scheduler", "server"])
def test_a_killed_process_loses_nothing(system: System, client: Client, victim: str) -> None:
    names = [job.id for job in jobs(300)]
    client.submit(jobs(300))
    wait_until(lambda: client.counts().get("completed", 0) > 20, "work to be under way")
    if victim == "server":
        assert system.server is not None
        system.server.kill()
    elif victim == "worker":
        system.processes.kill(system.processes.alive("worker")[0])
    else:
        leader = system.leader()
        assert leader is not None
        system.processes.kill(leader)
    assert set(all_ended(client, system, names)) == {Outcome.COMPLETED}
    assert client.counts()["completed"] == 300
    assert victim != "worker" or client.counts()["reclaimed"] > 0


def test_a_worker_paused_past_its_heartbeat_harms_nobody(system: System, client: Client) -> None:
    names = [job.id for job in jobs(300)]
    client.submit(jobs(300))
    wait_until(lambda: client.counts().get("completed", 0) > 20, "work to be under way")
    paused = system.processes.children["worker-1"].process.pid
    os.kill(paused, signal.SIGSTOP)
    try:
        wait_until(lambda: client.counts().get("reclaimed", 0) > 0, "its jobs to go back")
        assert set(all_ended(client, system, names)) == {Outcome.COMPLETED}
    finally:
        os.kill(paused, signal.SIGCONT)
    more = [Job(f"more{n}", "t0", 10, 20, output_tokens=5) for n in range(50)]
    client.submit(more)
    all_ended(client, system, [job.id for job in more])
    assert client.counts()["completed"] == 350  # late ends were counted and dropped


def test_sigterm_drains(system: System, client: Client) -> None:
    names = [job.id for job in jobs(200)]
    client.submit(jobs(200))
    wait_until(lambda: client.counts().get("completed", 0) > 10, "work to be under way")
    process = system.processes.children["worker-2"].process
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert set(all_ended(client, system, names)) == {Outcome.COMPLETED}
    assert client.counts().get("reclaimed", 0) == 0  # it left nothing to take back


PARENT = """
import os, sys
from pathlib import Path
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
system = System(Plan(1, 1, ("--engine", "noop")), SystemClock(), ephemeral=True,
                logs=Path(os.devnull))
system.start()
pids = [child.process.pid for child in system.processes.children.values()]
print(system.server.info.pid, *pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are prevented by Linux's PDEATHSIG")
def test_a_killed_parent_leaves_no_orphan() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment, cwd=ROOT,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        parent.kill()
    wait_until(lambda: all(is_gone(pid) for pid in pids), "all children to end")
