"""Changing, trying, recording and explaining on a cell of real processes, by its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
PLAN = Plan(3, 2, ("--engine", "clock", "--speed", "20"))


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System(PLAN, SystemClock(), ephemeral=True, logs=Path(os.devnull)) as system:
        yield system


def parallax(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parallax", *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PARALLAX_REDIS": system.url}, check=False,
    )  # fmt: skip


def told(system: System, *arguments: str) -> Any:
    done = parallax(system, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: Any = json.loads(done.stdout)
    return document


def jobs(prefix: str, count: int) -> list[Job]:
    return [Job(f"{prefix}{n}", "t", 100, 40, f"s{n % 9}", 20) for n in range(count)]


def ended(client: Client, prefix: str, count: int) -> bool:
    records = client.records([f"{prefix}{n}" for n in range(count)])
    return all(record is not None and record.outcome for record in records)


def chosen(system: System) -> list[tuple[str, str]]:
    """Return the policies that were set by hand."""
    rows = told(system, "policy", "current")
    return [(row["kind"], row["name"]) for row in rows if row["source"] == "policy set"]


def test_policies_are_set_shown_and_reset(system: System) -> None:
    assert parallax(system, "policy", "set", "power_of_two", "--set", "choices=3").returncode == 0
    wait_until(lambda: chosen(system) == [("routing", "power_of_two")], "the choice to be shown")
    (routing,) = [row for row in told(system, "policy", "current") if row["kind"] == "routing"]
    assert routing["parameters"]["choices"] == 3
    refused = parallax(system, "policy", "set", "power_of_two", "--set", "choices=0")
    assert refused.returncode == 2
    assert "choices" in refused.stderr
    unclear = parallax(system, "policy", "set", "never")
    assert unclear.returncode == 2
    assert "hedging" in unclear.stderr
    assert parallax(system, "policy", "reset").returncode == 0
    assert chosen(system) == []


def both_judged(system: System) -> bool:
    arms = told(system, "canary", "status")["arms"]
    return len(arms) == 2 and all(arm["jobs"] > 0 for arm in arms)


def test_a_canary_is_started_seen_and_rolled_back(system: System) -> None:
    client = Client(system.url)
    assert parallax(system, "canary", "rollback").returncode == 2  # there is none
    assert parallax(system, "canary", "start", "round_robin", "--percent", "50").returncode == 0
    assert parallax(system, "canary", "start", "random").returncode != 0  # one at a time
    client.submit(jobs("c", 300))
    wait_until(lambda: ended(client, "c", 300), "the jobs to end")
    wait_until(lambda: both_judged(system), "both arms to be seen")
    assert told(system, "canary", "status")["verdict"] == "undecided"
    assert parallax(system, "canary", "rollback").returncode == 0
    after = told(system, "canary", "status")
    assert (after["candidate"], after["verdict"]) == ("round_robin", "by hand: rollback")
    client.close()


def test_a_recording_is_checked_explained_and_a_trace(system: System, tmp_path: Path) -> None:
    client, file, trace = Client(system.url), tmp_path / "run.jsonl", tmp_path / "trace.jsonl"
    command = [sys.executable, "-m", "parallax", "record", "save", str(file), "--duration", "5"]
    with subprocess.Popen(
        command, env={**os.environ, "PARALLAX_REDIS": system.url}, stderr=subprocess.DEVNULL
    ) as saving:
        wait_until(lambda: file.exists() and file.stat().st_size > 0, "the recording to begin")
        client.submit(jobs("r", 200))
        wait_until(lambda: ended(client, "r", 200), "the jobs to end")
        assert saving.wait(timeout=30) == 0
    checked = told(system, "record", "check", str(file))
    assert checked["differing_batches"] == 0
    assert checked["dispatched"] == 200
    explained = parallax(system, "explain", "r5", "--record", str(file))
    assert explained.returncode == 0
    assert "KvLocality" in explained.stdout
    assert parallax(system, "explain", "nobody", "--record", str(file)).returncode == 1
    assert parallax(system, "record", "trace", str(file), "-o", str(trace)).returncode == 0
    assert len(trace.read_text().splitlines()) == 200
    spoilt = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join(spoilt[:3] + spoilt[4:]))
    refused = parallax(system, "record", "check", str(file))
    assert refused.returncode == 2
    assert "missing" in refused.stderr
    client.close()
