"""A machine's gateway as a process: it is supervised like the others, and refuses to be open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from parallax.cli.engine_options import engine_arguments
from parallax.services.clock import SystemClock
from parallax.services.system import GATEWAY, Plan, System, free_port
from tests.integration.gateways import CHAT, ECHOED, chunks_of, texts_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    plan = Plan(1, 1, engine_arguments("echo", "laptop", 10.0), gateway_port=free_port(0))
    with System(plan, SystemClock(), ephemeral=True, logs=Path(os.devnull)) as system:
        yield system


@pytest.fixture
def asking(system: System) -> Iterator[httpx.Client]:
    base = f"http://127.0.0.1:{system.plan.gateway_port}"
    with httpx.Client(base_url=base, timeout=120, trust_env=False) as asking:
        yield asking


def test_it_answers_once_the_system_is_up(asking: httpx.Client) -> None:
    assert asking.get("/ready").status_code == 200
    answer = asking.post("/v1/chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == ECHOED
    answer = asking.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert texts_of(chunks_of(answer.text)) == ECHOED


def test_one_that_dies_is_started_again(system: System, asking: httpx.Client) -> None:
    killed = system.processes.kill(GATEWAY)

    def answers() -> bool:
        system.watch()
        try:
            return asking.post("/v1/chat/completions", json=CHAT).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, "it to answer again", 90.0)
    assert system.processes.children[GATEWAY].process.pid != killed


def refused(system: System, *arguments: str) -> str:
    """Return what a gateway says that is used wrongly."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARALLAX_")}
    variables = {**kept, "PYTHONPATH": str(ROOT), "PARALLAX_REDIS": system.url}
    done = subprocess.run(
        [sys.executable, "-m", "parallax", "gateway", *arguments],
        capture_output=True, text=True, env=variables, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_a_port_that_is_taken_is_said(system: System) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port: {port} is not allowed" in refused(system, "--port", port)


def test_an_address_that_others_reach_wants_keys(system: System) -> None:
    everywhere = refused(system, "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert "parallax keys create" in everywhere
