"""Who asks whether replicas hold a job is told the truth by a server that has none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from parallax.broker.store import confirming
from parallax.broker.store.confirming import Replicated
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput, StoreFault
from parallax.core.model import Job
from parallax.producers.client.async_client import AsyncClient
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client
from parallax.producers.gateway.explaining import DURABILITY
from parallax.producers.gateway.settings import GatewaySettings
from tests.integration.gateways import ECHOED, a_cell, echoing, fronted
from tests.unit.cli.invoking import run_main

ASKED = Replicated(1, 20)
JOB = Job("j1", "acme", prompt_tokens=10, max_tokens=5)


def test_nobody_asks_unless_told_to(embedded_url: str) -> None:
    with Client(embedded_url) as client:
        assert client.submit(JOB).confirmed is None


def test_without_a_replica_it_is_accepted_and_unconfirmed(embedded_url: str) -> None:
    with Client(embedded_url, replicated=ASKED) as client:
        first, again = client.submit(JOB), client.submit(JOB)
        assert [(one.word, one.confirmed) for one in (first, again)] == [
            ("ok", False), ("dup", False),
        ]  # fmt: skip
        assert client.counts()["resubmitted"] == 1, "a write, so that the answer is about now"


def test_what_is_refused_is_neither(embedded_url: str) -> None:
    with Client(embedded_url, replicated=ASKED) as client:
        client.submit(JOB)
        other = Job("j1", "acme", prompt_tokens=11, max_tokens=5)
        assert client.submit(other).confirmed is None


def test_tasks_of_a_loop_are_told_the_same(embedded_url: str) -> None:
    async def scene() -> None:
        async with AsyncClient(embedded_url, replicated=ASKED) as client:
            receipt = await client.submit(JOB)
            assert (receipt.confirmed, client.confirmed("j1")) == (False, False)
            assert client.confirmed("j2") is None

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("answers", "held"),
    [
        ([[1, 1]], 1),
        ([[0, 1]], -1),
        ([StoreFault("unknown command 'WAITAOF'"), 1], 1),
        ([StoreFault("WAITAOF cannot be used when appendonly is disabled"), 0], 0),
    ],
)
def test_the_best_that_a_server_knows_is_asked(answers: list[Any], held: int) -> None:
    asking = confirming._holders(ASKED)
    asked = [next(asking).commands[0][0]]
    asked += [asking.send([answer]).commands[0][0] for answer in answers[:-1]]
    with pytest.raises(StopIteration) as done:
        asking.send([answers[-1]])
    assert done.value.value == held
    assert asked == ["WAITAOF", "WAIT"][: len(answers)]


@pytest.mark.parametrize("wrong", [{"replicas": 0}, {"wait_ms": 5_000}])
def test_what_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Replicated(**wrong)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for replicas that are not there."""
    monkeypatch.setattr(confirming, "USUAL_WAIT_MS", 20)


WORDS = ("--prompt-tokens", "10", "--max-tokens", "5", "--detach", "--id", "j1")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("words", [WORDS, ("Say hello", "--detach", "--id", "j1")])
def test_a_command_says_it_and_fails(
    words: tuple[str, ...], embedded_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = run_main(capsys, "submit", *words, "--json", "--redis", embedded_url)
    assert (usual.code, "durability" in usual.document) == (0, False)
    asked = ("--durability", "replicated", "--json", "--redis", embedded_url)
    answer = run_main(capsys, "submit", *words, *asked)
    assert answer.code == 1
    assert answer.document == {"id": "j1", "state": "accepted", "durability": "unconfirmed"}
    assert "unconfirmed" in answer.err


@pytest.mark.usefixtures("hasty")
def test_several_cells_are_asked_alike(embedded_url: str) -> None:
    places = [CellAddress(name, embedded_url) for name in "ab"]
    cells = Cells.to(places, replicated=ASKED)
    assert [receipt.confirmed for receipt in cells.submit([JOB])] == [False]
    cells.close()


def test_a_stream_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_main(capsys, "submit", "hello", "--stream", "--durability", "replicated")
    assert answer.code == 2
    assert "--durability" in answer.err


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("replicas", "said"), [(1, "unconfirmed"), (0, None)])
def test_a_gateway_says_it_in_a_header(replicas: int, said: str | None, embedded_url: str) -> None:
    cell = a_cell(embedded_url, echoing())
    with fronted(embedded_url, cell, GatewaySettings(replicas=replicas)) as front:
        whole, streamed = front.chat(), front.chat(stream=True)
    assert json.loads(whole.content)["choices"][0]["message"]["content"] == ECHOED
    assert [one.status_code for one in (whole, streamed)] == [200, 200]
    assert [one.headers.get(DURABILITY) for one in (whole, streamed)] == [said, said]
