"""From a prompt to its answer, through the commands, on processes that `parallax up` runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
HELLO = ("submit", "Say hello")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "parallax", *arguments]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the environment of a system whose engine says the words of the prompt."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARALLAX_")}
    home = str(tmp_path_factory.mktemp("home"))
    variables = {**kept, "PYTHONPATH": str(ROOT), "PARALLAX_HOME": home}
    up = command("up", "--engine", "echo", "--workers", "1", "--schedulers", "1")
    with subprocess.Popen(
        up, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables
    ) as process:
        assert process.stdout is not None
        assert "Parallax is up: 1 workers (echo)" in process.stdout.readline()
        assert 'try: parallax submit "Say hello" --stream' in process.stdout.readline()
        yield variables
        process.terminate()
        assert process.wait(timeout=60) == 0


def heeding_ctrl_c() -> None:
    """In the child: SIGINT ends it, even if the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=["whole", "streamed"])
def test_the_answer_is_shown(environment: dict[str, str], how: list[str]) -> None:
    asked = done(environment, *HELLO, "--max-tokens", "5", "--id", f"a{len(how)}", *how)
    assert (asked.returncode, asked.stdout) == (0, "Say hello Say hello Say\n")
    assert asked.stderr.startswith(f"a{len(how)} completed worker=w1-")


def test_json_has_the_document(environment: dict[str, str]) -> None:
    line = json.loads(done(environment, *HELLO, "--max-tokens", "2", "--json").stdout)
    assert line["text"] == "Say hello"
    assert line["answer"]["object"] == "chat.completion"
    assert line["answer"]["usage"]["completion_tokens"] == line["output_tokens"] == 2


def test_ctrl_c_in_the_middle_cancels_the_job(environment: dict[str, str]) -> None:
    long = command(*HELLO, "--stream", "--max-tokens", "60000", "--id", "long")
    with subprocess.Popen(
        long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509 - no threads are forked
    ) as asking:  # fmt: skip
        assert asking.stdout is not None
        assert asking.stdout.read(9) == "Say hello"
        asking.send_signal(signal.SIGINT)
        rest, told = asking.communicate(timeout=60)
    assert asking.returncode == 130
    assert rest.endswith("\n")
    assert told == "\nparallax: job long is cancelled\n"
    assert json.loads(done(environment, "get", "long", "--json").stdout)["state"] == "cancelled"


def test_a_reader_that_has_seen_enough_cancels_the_job(environment: dict[str, str]) -> None:
    long = command(*HELLO, "--stream", "--max-tokens", "60000", "--id", "head")
    with subprocess.Popen(
        long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        asking.stdout.read(9)
        asking.stdout.close()
        assert asking.stderr.read() == ""
    assert asking.returncode == 0
    assert json.loads(done(environment, "get", "head", "--json").stdout)["state"] == "cancelled"


def test_an_answer_that_nobody_waits_for_is_kept(environment: dict[str, str]) -> None:
    asked = done(environment, *HELLO, "--max-tokens", "3", "--detach", "--id", "later")
    assert asked.stdout == "later accepted\n"
    same = done(environment, *HELLO, "--max-tokens", "1", "--id", "other")  # it comes after it
    assert same.returncode == 0
    kept = done(environment, "get", "later", "--answer")
    assert (kept.returncode, kept.stdout, kept.stderr) == (0, "Say hello Say\n", "")
    gone = done(environment, "get", "other", "--answer")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no answer of other is kept: it was not submitted with --detach" in gone.stderr
