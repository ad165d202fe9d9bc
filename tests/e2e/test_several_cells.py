"""Two cells of real processes, as `parallax up --cells` starts them, and commands over both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.core.cells import home

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of commands while both cells run, on one embedded server."""
    variables = {
        **os.environ, "PYTHONPATH": str(ROOT), "PARALLAX_CELLS": "a,b",
        "PARALLAX_HOME": str(tmp_path_factory.mktemp("home")),
    }  # fmt: skip
    command = [sys.executable, "-m", "parallax", "up", "--workers", "1", "--schedulers", "1",
               "--engine", "noop"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables
    ) as process:
        assert process.stdout is not None
        for cell in "ab":
            line = process.stdout.readline()
            assert f"Parallax is up: 1 workers (noop) in cell {cell}" in line
        yield variables
        process.terminate()
        assert process.wait(timeout=60) == 0


def parallax(environment: dict[str, str], *arguments: str, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "parallax", *arguments], input=stdin, capture_output=True,
        text=True, env=environment, timeout=60, check=False, cwd=environment["PARALLAX_HOME"],
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def test_both_cells_run_and_serve_their_tenants(environment: dict[str, str]) -> None:
    rows = json.loads(parallax(environment, "cells", "--json"))
    assert [(row["cell"], row["answers"], row["workers"]) for row in rows] == [
        ("a", True, 1), ("b", True, 1),
    ]  # fmt: skip
    lines = [{"id": f"j{n}", "prompt_tokens": 9, "max_tokens": 9, "tenant": f"t{n % 20}"}
             for n in range(100)]  # fmt: skip
    text = "\n".join(map(json.dumps, lines))
    told = parallax(environment, "submit", "--file", "-", "--json", stdin=text).splitlines()
    assert sorted(json.loads(line)["id"] for line in told) == sorted(f"j{n}" for n in range(100))
    assert {json.loads(line)["state"] for line in told} == {"completed"}
    cells = json.loads(parallax(environment, "status", "--json"))["cells"]
    at_home = {cell: sum(home(f"t{n % 20}", "ab") == cell for n in range(100)) for cell in "ab"}
    assert {row["cell"]: row["totals"]["completed"] for row in cells} == at_home


def test_a_load_is_offered_to_both_and_nothing_is_lost(environment: dict[str, str]) -> None:
    told = json.loads(
        parallax(environment, "loadgen", "--rate", "100", "--duration", "2", "--json",
                 "--tenants", "t0,t1,t2,t3,t4,t5")
    )  # fmt: skip
    assert told["kept"]
    assert (told["lost_jobs"], told["finished_twice_jobs"]) == (0, 0)
    assert told["outcomes"]["completed"] == told["accepted_jobs"] == told["offered_jobs"] > 0
    parallax(environment, "loadgen", "--tenants", "t0", "--weights", "t0:3", code=2)


def test_a_tenant_waits_for_its_own_and_nobody_else_sees_it(environment: dict[str, str]) -> None:
    size = ("--prompt-tokens", "9", "--max-tokens", "9", "--id", "mine", "--json")
    told = json.loads(parallax(environment, "submit", "--as", "acme", *size))
    assert (told["id"], told["state"], told["tenant"]) == ("mine", "completed", "acme")
    parallax(environment, "get", "--as", "acme", "mine")
    parallax(environment, "get", "--as", "bob", "mine", code=1)
    parallax(environment, "cancel", "--as", "bob", "mine", code=1)
