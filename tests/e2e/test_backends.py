"""From a prompt to the answer of a server, through the commands, on processes that `up` runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upstream import WORDS, Upstream, cut, stall
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
TEXT = "".join(WORDS)
KEY = "sk-very-secret"


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def environment(
    server: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Yield the environment of a system with a worker in front of the server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARALLAX_")}
    home = tmp_path_factory.mktemp("home")
    variables = {**kept, "PYTHONPATH": str(ROOT), "PARALLAX_HOME": str(home), "MY_KEY": KEY}
    up = [sys.executable, "-m", "parallax", "up", "--schedulers", "1", "--backend",
          f"{server.url},name=front,slots=4,key-env=MY_KEY"]  # fmt: skip
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(up, stdout=subprocess.PIPE, stderr=log, text=True, env=variables) as main,
    ):
        assert main.stdout is not None
        assert "Parallax is up: 1 workers (openai)" in main.stdout.readline()
        assert 'try: parallax submit "Say hello" --stream' in main.stdout.readline()
        yield variables
        main.terminate()
        rest = main.stdout.read()
        assert main.wait(timeout=60) == 0
    assert KEY not in rest + (home / "log").read_text()


def heeding_ctrl_c() -> None:
    """In the child: SIGINT ends it, even if the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parallax", *arguments], capture_output=True, text=True,
        env=environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=["whole", "streamed"])
def test_the_answer_of_the_server_is_shown(environment: dict[str, str], how: list[str]) -> None:
    asked = done(environment, "submit", "Say hello", *how)
    assert (asked.returncode, asked.stdout) == (0, f"{TEXT}\n"), asked.stderr
    assert "worker=front-" in asked.stderr


def test_a_broken_stream_is_told_with_what_came_of_it(
    environment: dict[str, str], server: Upstream
) -> None:
    server.script.append(cut(2))
    asked = done(environment, "submit", "Say hello", "--stream")
    assert (asked.returncode, asked.stdout) == (1, "to be\n")
    assert "stream_broken" in asked.stderr


def test_before_the_first_token_it_is_tried_again(
    environment: dict[str, str], server: Upstream
) -> None:
    server.script.append(cut(0))
    asked = done(environment, "submit", "Say hello", "--stream")
    assert (asked.returncode, asked.stdout) == (0, f"{TEXT}\n"), asked.stderr


def test_ctrl_c_closes_the_connection_of_the_server(
    environment: dict[str, str], server: Upstream
) -> None:
    server.script.append(stall(2))
    left = server.left
    command = [sys.executable, "-m", "parallax", "submit", "Say hello", "--stream", "--id", "long"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment,
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509 - no threads are forked
    ) as asking:  # fmt: skip
        assert asking.stdout is not None
        assert asking.stdout.read(5) == b"to be"
        asking.send_signal(signal.SIGINT)
        wait_until(lambda: server.left > left, "the connection to be closed")
    assert json.loads(done(environment, "get", "long", "--json").stdout)["state"] == "cancelled"


def test_the_servers_of_a_cell_are_listed_without_their_keys(
    environment: dict[str, str], server: Upstream
) -> None:
    listed = done(environment, "backend", "list", "--json")
    (row,) = json.loads(listed.stdout)
    assert (row["state"], row["models"], row["slots"]) == ("ready", ["tiny"], 4)
    assert row["backend"] == server.url.removesuffix("/v1")
    for words in (["backend", "list"], ["workers"], ["status"]):
        told = done(environment, *words)
        assert told.returncode == 0
        assert KEY not in told.stdout + told.stderr
