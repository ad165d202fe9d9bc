"""A gateway that is killed: its jobs end without it, and nothing of them is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Results
from parallax.core.lifecycle import Outcome
from parallax.drills.leftovers import left_over
from parallax.services.system import free_port
from tests.integration.gateways import CELL, CHAT, Turning, a_cell, echoing, fronted
from tests.waiting import wait_until

pytestmark = [pytest.mark.dear, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
#: What takes seconds: nobody hears of its end any more.
LONG = {**CHAT, "max_tokens": 5_000}
#: What is asked, and with which headers.
ASKED = [
    (LONG, {}), (LONG, {}), ({**LONG, "stream": True}, {}), (LONG, {"idempotency-key": "once"}),
]  # fmt: skip


@contextmanager
def process(url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a gateway as a process; yield it, and its address."""
    port = free_port(0)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARALLAX_")}
    variables = {**kept, "PYTHONPATH": str(ROOT), "PARALLAX_REDIS": url, "PARALLAX_CELL": CELL}
    command = [sys.executable, "-m", "parallax", "gateway", "--port", str(port)]
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as running:
        try:
            wait_until(lambda: listens(port), "the gateway to start", PATIENCE_S)
            yield running, f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            running.kill()


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_its_jobs_end_and_who_asks_again_has_the_answer(embedded_url: str) -> None:
    cell, keys, cut = a_cell(embedded_url, echoing(0.5)), Keys(CELL), list[Exception]()

    def ask(address: str, body: dict[str, object], headers: dict[str, str]) -> None:
        try:
            httpx.post(address, json=body, headers=headers, timeout=PATIENCE_S, trust_env=False)
        except httpx.TransportError as error:
            cut.append(error)

    with Turning(cell):
        with process(embedded_url) as (running, address):
            clients = [threading.Thread(target=ask, args=(address, *one)) for one in ASKED]
            for client in clients:
                client.start()
            wait_until(lambda: cell.link.call("ZCARD", keys.open) == len(ASKED), "all of them")
            names = [name.decode() for name in cell.link.call("ZRANGE", keys.open, 0, -1)]
            running.kill()
            for client in clients:
                client.join(60)
        assert len(cut) == len(ASKED)
        wait_until(lambda: not cell.link.call("ZCARD", keys.open), "their ends", PATIENCE_S)
        records = Results(cell.link, keys).records(names)
        assert {one and one.outcome for one in records} == {Outcome.COMPLETED}
        wait_until(lambda: not left_over(cell.link, keys), "nothing to stay for ever")
        assert not any(cell.link.call("EXISTS", keys.body(name)) for name in names)
    with fronted(embedded_url, cell) as front:
        answer = front.post("/v1/chat/completions", LONG, idempotency_key="once")
        assert answer.json()["usage"]["completion_tokens"] == LONG["max_tokens"]
        assert answer.headers["x-parallax-job"] in names
