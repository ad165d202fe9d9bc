"""Two models behind one gateway: each request reaches the right one, and waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from parallax.producers.gateway.settings import GatewaySettings
from tests.integration.cells import Cell
from tests.integration.gateways import ECHOED, LONG_S, Front, a_cell, echoing, fronted
from tests.waiting import wait_until

pytestmark = [pytest.mark.dear, pytest.mark.timeout(300)]

SETTINGS = GatewaySettings(
    hold_s=LONG_S, learn_s=0.0, aliases=(("gpt-4o", "llama"),), default_model="qwen"
)  # fmt: skip


@pytest.fixture
def cell(embedded_url: str) -> Iterator[Cell]:
    cell = a_cell(embedded_url)
    cell.worker(echoing(), models=["llama", "llava"])
    cell.worker(echoing(), models=["qwen"])
    yield cell
    cell.link.close()


@pytest.fixture
def front(embedded_url: str, cell: Cell) -> Iterator[Front]:
    with fronted(embedded_url, cell, SETTINGS) as front:
        wait_until(lambda: front.asking.get("/v1/models").json()["data"], "the workers")
        yield front


def worker_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == ECHOED
    return answer.headers["x-parallax-backend"]


def test_each_request_reaches_who_serves_its_model(front: Front) -> None:
    first, second = (worker.id for worker in front.cell.workers)
    for model, worker in (("llama", first), ("llava", first), ("gpt-4o", first),
                          ("qwen", second), ("", second)):  # fmt: skip
        assert [worker_of(front.chat(model=model)) for _ in range(3)] == [worker] * 3
    listed = [one["id"] for one in front.asking.get("/v1/models").json()["data"]]
    assert sorted(listed) == ["gpt-4o", "llama", "llava", "qwen"]
    unknown = front.chat(model="nope")
    assert unknown.status_code == 404
    assert "llama" in unknown.json()["error"]["message"]


def test_jobs_wait_for_a_model_whose_worker_has_died_and_others_do_not(front: Front) -> None:
    front.cell.die(front.cell.workers[1])
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(front.chat(model="qwen")))
    asking.start()
    assert worker_of(front.chat(model="llama")) == front.cell.workers[0].id
    assert answers == []  # it is known, and nobody serves it
    back = front.cell.worker(echoing(), models=["qwen"])
    asking.join(LONG_S)
    assert worker_of(answers[0]) == back.id
