"""`parallax up --reload`: new processes under load, and nobody notices."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.client import Client
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
UP = ("up", "--workers", "2", "--schedulers", "2", "--engine", "clock", "--engine-speed", "20")


def command(home: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PARALLAX_HOME": str(home)}
    environment.pop("PARALLAX_REDIS", None)
    return [sys.executable, "-m", "parallax", *words], environment


def parallax(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line, environment = command(home, *words)
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    line, environment = command(tmp_path / "home", *UP)
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: "Parallax is up" in said(tmp_path), "it to be up", 120.0)
        yield tmp_path / "home"
    finally:
        running.terminate()
        assert running.wait(90) == 0


def said(folder: Path) -> str:
    return (folder / "log").read_text("utf-8", "replace")


def test_all_processes_are_replaced_and_no_job_is_lost(home: Path) -> None:
    url = parallax(home, "url", "--show-password").stdout.strip()
    asked = parallax(home, "up", "--reload")
    assert (asked.returncode, str(home) in asked.stdout) == (0, True), asked.stderr
    sent: list[str] = []
    with Client(url) as client:

        def over() -> bool:
            ids = [f"j{len(sent) + n}" for n in range(5)]
            client.submit([Job(one, "t", 50, 20, output_tokens=5) for one in ids])
            sent.extend(ids)
            return "all processes were replaced" in said(home.parent)

        wait_until(over, "all processes to be replaced", 240.0)
        outcomes = {one.job_id: one for one in client.wait(sent, 60.0)}
        assert set(outcomes) == set(sent)
        assert {one.outcome for one in outcomes.values()} == {Outcome.COMPLETED}
    replaced = re.findall(r"\"(\S+) was replaced", said(home.parent))
    assert replaced == ["scheduler-1", "scheduler-2", "worker-1", "worker-2"]
    assert not (home / "renew").exists()


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    asked = parallax(tmp_path, "up", "--reload")
    assert asked.returncode == 4
    assert "no `parallax up` runs" in asked.stderr
    refused = parallax(tmp_path, "up", "--reload", "--redis", "redis://127.0.0.1:1")
    assert refused.returncode == 2
