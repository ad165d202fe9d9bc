"""A body goes in and an answer comes out: in pieces, whole, kept, or refused with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.relay import InOrder
from parallax.broker.store.results import Notice, Results
from parallax.consumers.engines.echo import EchoEngine
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import WorkerSettings
from parallax.engine.profiles import profile_named
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell, job

CLOCK = SystemClock()
WORDS = "to be or not to be"


def body(text: str = WORDS) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


def echo(speed: float = 100.0) -> EchoEngine:
    return EchoEngine(profile_named("laptop"), speed, CLOCK)


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    cell = Cell(connect)
    cell.scheduler()
    return cell


def ask(cell: Cell, name: str, content: bytes, reply: str | None = "inbox", **fields: Any) -> None:
    new = job(name, output_tokens=None, max_tokens=8, **fields)
    receipts = Intake(cell.link, cell.keys).submit([new], reply, {name: content})
    assert [receipt.word for receipt in receipts] == ["ok"]


def told(cell: Cell, stream: str = "inbox") -> list[Notice]:
    return Results(cell.link, cell.keys).follow(stream, "", 0)[1]


def said(notices: list[Notice], name: str) -> tuple[str, int]:
    """Return what the chunks of a job say, read in order, and how many there were."""
    order, text, count = InOrder(), "", 0
    for notice in notices:
        if notice.job_id == name and notice.word == "chunk":
            data = order.take(notice.piece)
            assert data is not None
            count += 1
            text += "".join(c["delta"].get("content", "") for c in json.loads(data)["choices"])
    return text, count


@pytest.mark.parametrize("own", [False, True], ids=["inbox", "own stream"])
def test_a_streamed_answer_comes_in_order_and_before_its_end(cell: Cell, own: bool) -> None:
    cell.worker(echo(0.02))  # 15 ms a token
    ask(cell, "j", body(), None if own else "inbox", stream=True)
    cell.until_ended("j")
    notices = [n for n in told(cell, "j" if own else "inbox") if n.job_id == "j"]
    text, count = said(notices, "j")
    assert text == "to be or not to be to be"
    assert count > 1
    assert notices[-1].outcome is Outcome.COMPLETED
    assert not any(n.word == "answer" for n in notices)
    record = cell.record("j")
    assert record is not None
    assert record.report.output_tokens == 8


def test_an_answer_that_is_wanted_whole_comes_with_its_end(cell: Cell) -> None:
    cell.worker(echo())
    ask(cell, "j", body())
    cell.until_ended("j")
    answer, end = told(cell)[-2:]
    assert (answer.word, end.outcome) == ("answer", Outcome.COMPLETED)
    document = json.loads(answer.data)
    assert document["choices"][0]["message"]["content"] == "to be or not to be to be"
    assert document["usage"]["completion_tokens"] == 8


def test_an_answer_is_kept_for_who_asks_for_that(cell: Cell) -> None:
    cell.worker(echo())
    ask(cell, "kept", body(), stream=True, keep=True)
    ask(cell, "gone", body())
    cell.until_ended("kept", "gone")
    kept, gone = Results(cell.link, cell.keys).answers(["kept", "gone"])
    assert kept is not None
    assert "to be or not" in json.loads(kept)["choices"][0]["message"]["content"]
    assert gone is None


def test_a_body_that_is_no_chat_ends_the_job_with_the_field(cell: Cell) -> None:
    cell.worker(echo())
    ask(cell, "j", b'{"messages": "hello"}')
    cell.until_ended("j")
    record = cell.record("j")
    assert record is not None
    assert record.outcome is Outcome.FAILED
    assert "body.messages" in record.report.error


def test_an_engine_that_reads_no_bodies_is_given_none(cell: Cell) -> None:
    cell.worker(NoopEngine(4))
    ask(cell, "j", body())
    cell.until_ended("j")
    assert cell.outcome("j") is Outcome.COMPLETED


def test_an_answer_that_is_too_long_ends_the_job_with_both_numbers(cell: Cell) -> None:
    settings = WorkerSettings(heartbeat_s=30.0, block_s=0.001, drain_s=0.0)
    worker = Worker(
        "w", (cell.connect(), cell.connect()), cell.keys, echo(), settings, CLOCK,
        limits=Limits(max_bytes=100),
    )  # fmt: skip
    worker.heartbeat.beat()
    cell.workers.append(worker)
    ask(cell, "j", body())
    cell.until_ended("j")
    record = cell.record("j")
    assert record is not None
    assert record.outcome is Outcome.FAILED
    assert "at most 100 are allowed" in record.report.error


def test_who_cancels_a_stream_hears_no_more_and_the_engine_stops(cell: Cell) -> None:
    worker = cell.worker(echo(0.2))
    new = job("j", output_tokens=None, max_tokens=4_000, stream=True)
    Intake(cell.link, cell.keys).submit([new], "inbox", {"j": body()})
    cell.until(lambda: said(told(cell), "j")[1] > 2, "some of the answer")
    assert cell.cancel("j") == "ok"
    cell.until(lambda: not worker.desk.running, "the engine to stop")
    assert cell.outcome("j") is Outcome.CANCELLED


def test_a_worker_that_leaves_in_the_middle_of_a_stream_says_that_it_is_broken(
    cell: Cell,
) -> None:
    worker = cell.worker(echo(0.2))
    new = job("j", output_tokens=None, max_tokens=4_000, stream=True)
    Intake(cell.link, cell.keys).submit([new], "inbox", {"j": body()})
    cell.until(lambda: said(told(cell), "j")[1] > 2, "some of the answer")
    cell.workers.remove(worker)
    worker.close()
    record = cell.record("j")
    assert record is not None
    assert record.outcome is Outcome.FAILED
    assert record.report.reason == "stream_broken"


def test_a_worker_in_its_loop_streams_and_drains(embedded_url: str) -> None:
    """The same as it lives: one loop with two workers, while others take turns beside it."""
    cell = Cell(lambda: Link.to(embedded_url))
    cell.scheduler()
    settings = WorkerSettings(heartbeat_s=5.0, block_s=0.2, drain_s=5.0)
    workers = [
        Worker(
            "w",
            (AsyncLink.to(embedded_url), cell.connect()),
            Keys("cell"),
            echo(5.0),
            settings,
            CLOCK,
        )
        for _ in range(2)
    ]

    def watch() -> None:
        for name in ("a", "b", "c", "d"):
            ask(cell, name, body(), stream=name in "ab")
        cell.until_ended("a", "b", "c", "d")
        for worker in workers:
            worker.drain()

    async def live() -> None:
        for worker in workers:
            worker.start()
        beside = asyncio.to_thread(watch)
        await asyncio.gather(beside, *(w.live(lambda: False) for w in workers))

    asyncio.run(asyncio.wait_for(live(), 60.0))
    notices = told(cell)
    for name in "ab":
        assert said(notices, name)[0] == "to be or not to be to be"
    answers = [n for n in notices if n.word == "answer"]
    assert sorted(n.job_id for n in answers) == ["c", "d"]
    assert [cell.state(name) for name in "abcd"] == [State.COMPLETED] * 4
    assert sum(worker.completed for worker in workers) == 4
    assert cell.link.call("HLEN", cell.keys.workers) == 0  # they signed off
