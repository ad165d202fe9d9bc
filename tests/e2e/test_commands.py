"""The commands of the README, as a stranger types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallax.policies.registry import ROUTING

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def parallax(*arguments: str, stdin: str = "", code: int = 0, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "parallax", *arguments], input=stdin, capture_output=True,
        text=True, env=environment, timeout=150, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A system that `parallax up` keeps running."""
    home = str(tmp_path_factory.mktemp("home"))
    command = [sys.executable, "-m", "parallax", "up", "--home", home, "--workers", "2",
               "--engine", "clock", "--engine-speed", "50"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert "Parallax is up" in process.stdout.readline()
        yield home
        process.terminate()
        assert process.wait(timeout=60) == 0


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_submit_waits_and_shows_the_result(home: str) -> None:
    (told,) = documents(
        parallax("submit", "--home", home, "--prompt-tokens", "300", "--max-tokens", "80",
                 "--tenant", "acme", "--wait", "--json")
    )  # fmt: skip
    assert told["state"] == "completed"
    assert 1 <= told["output_tokens"] <= 80


def test_submit_reads_json_lines_from_standard_input(home: str) -> None:
    lines = [{"prompt_tokens": n, "max_tokens": 40, "tenant": "acme"} for n in range(20)]
    text = "\n".join(map(json.dumps, lines))
    told = documents(parallax("submit", "--home", home, "--file", "-", "--json", stdin=text))
    assert [row["state"] for row in told] == ["completed"] * 20


def test_what_was_submitted_and_detached_can_be_looked_at(home: str) -> None:
    arguments = ("--home", home, "--prompt-tokens", "10", "--max-tokens", "9", "--id", "mine")
    parallax("submit", *arguments, "--detach")
    parallax("submit", *arguments, "--wait")  # the same job: it is not run again
    record = json.loads(parallax("get", "mine", "--home", home, "--json"))
    assert (record["state"], record["attempts"]) == ("completed", 1)
    parallax("cancel", "mine", "--home", home, code=1)


def test_tenants_workers_status_and_doctor_tell_of_the_system(home: str) -> None:
    parallax("tenants", "set", "acme", "--weight", "4", "--home", home)
    tenants = json.loads(parallax("tenants", "list", "--home", home, "--json"))
    assert [row["weight"] for row in tenants if row["tenant"] == "acme"] == [4.0]
    assert len(json.loads(parallax("workers", "--home", home, "--json"))) == 2
    assert json.loads(parallax("status", "--home", home, "--json"))["workers"] == 2
    findings = json.loads(parallax("doctor", "--home", home, "--json"))
    assert not [row for row in findings if row["finding"] == "bad"]


def test_a_bad_line_names_line_field_value_and_what_is_allowed(home: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parallax", "submit", "--home", home, "--file", "-"],
        input='{"prompt_tokens": NaN, "max_tokens": 1}', capture_output=True, text=True,
        check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "line 1" in done.stderr


@pytest.mark.parametrize("policy", list(ROUTING))
def test_a_replay_survives_two_kills_whatever_the_policy(tmp_path: Path, policy: str) -> None:
    rows = "".join(
        f"2023-11-16 18:{n // 20:02}:{3 * (n % 20):02}.0000000,{100 + n},{5 + n % 40}\n"
        for n in range(400)
    )
    trace = tmp_path / "trace.csv"
    trace.write_text(HEAD + rows)
    told = json.loads(
        parallax("replay", str(trace), "--speed", "300", "--workers", "3", "--engine-speed", "20",
                 "--routing", policy, "--kill", "worker@30%", "--kill", "scheduler@60%", "--json")
    )  # fmt: skip
    assert told["outcomes"]["completed"] == told["accepted_jobs"] == 400
    assert (told["lost_jobs"], told["finished_twice_jobs"], told["kept"]) == (0, 0, True)
    assert len(told["killed"]) == 2


def test_a_broken_promise_would_be_noticed(tmp_path: Path) -> None:
    """The control: a run that loses its server's memory on the way does not exit with 0."""
    trace = tmp_path / "trace.csv"
    trace.write_text(HEAD + "2023-11-16 18:00:00.0000000,100,5\n" * 50)
    script = (
        "import parallax.producers.load.drive as drive\n"
        "check = drive.Driver.check\n"
        "def forgetful(self):\n"
        "    self._client._link.call('FLUSHALL')\n"
        "    check(self)\n"
        "drive.Driver.check = forgetful\n"
        "from parallax.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "replay", str(trace), "--speed", "100", "--workers", "1",
         "--json"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=150,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["lost_jobs"] == 50
