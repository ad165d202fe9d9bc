"""From a prompt to its answer through a whole cell: told whole, streamed, kept; or said why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from parallax import BrokenAnswer, Cells, Client, NotCompleted, TenantClient, chat, chunk_text
from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.interface import Engine
from parallax.consumers.engines.registry import build_engine
from parallax.core.cells import CellAddress
from parallax.core.lifecycle import State
from parallax.core.model import Job
from parallax.producers.client.interface import Jobs
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell

TENANT, THREADS = "acme", 12


def echo(speed: float = 100.0) -> Engine:
    return build_engine("echo", profile="laptop", slots=None, speed=speed, clock=SystemClock())


@pytest.fixture
def cell(embedded_url: str) -> Cell:
    cell = Cell(lambda: Link.to(embedded_url))
    cell.scheduler()
    return cell


@pytest.fixture(params=["client", "cells", "tenant"])
def door(request: pytest.FixtureRequest, embedded_url: str) -> Iterator[Jobs]:
    """Yield each kind of client of this cell; a tenant's is one of several cells."""
    if request.param == "client":
        client: Any = Client(embedded_url, "cell")
    else:
        client = Cells.to(
            [CellAddress("cell", embedded_url), CellAddress("empty", embedded_url, 1e-3)]
        )
        assert client.home(TENANT) == "cell"
    yield TenantClient(client, TENANT) if request.param == "tenant" else client
    client.close()


@pytest.fixture
def client(embedded_url: str) -> Iterator[Client]:
    with Client(embedded_url, "cell") as client:
        yield client


def while_turning(cell: Cell, *tasks: Callable[[], Any]) -> list[Any]:
    """Run tasks in threads while this one turns the cell; return what they return."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task) for task in tasks]
        cell.until(lambda: all(one.done() for one in running), "the clients to end")
    return [one.result() for one in running]


def hello(most: int = 5, **fields: Any) -> tuple[Job, bytes]:
    return chat("Say hello", tenant=TENANT, max_tokens=most, **fields)


def words(count: int) -> str:
    return " ".join(["Say", "hello"][n % 2] for n in range(count))


def streamed(door: Jobs, job: Job, body: bytes) -> str:
    return "".join(chunk_text(chunk) or "" for chunk in door.stream(job, body, timeout_s=60.0))


def test_an_answer_is_told_whole(cell: Cell, client: Client) -> None:
    cell.worker(echo())
    (ended,) = while_turning(cell, lambda: client.run(*hello()))
    ended.raise_for_outcome()
    assert ended.text == words(5)
    assert json.loads(ended.answer)["usage"]["completion_tokens"] == 5
    assert client.answers([ended.job_id]) == [None]  # nobody asked for it to be kept


def test_an_answer_is_streamed(cell: Cell, door: Jobs) -> None:
    cell.worker(echo())
    job, body = hello(20, stream=True)
    assert while_turning(cell, lambda: streamed(door, job, body)) == [words(20)]
    (record,) = door.records([job.id])
    assert record is not None
    assert (record.state, record.report.output_tokens) == (State.COMPLETED, 20)


def test_a_kept_answer_can_be_read_by_anybody_who_may(cell: Cell, door: Jobs) -> None:
    cell.worker(echo())
    (whole, body), (parts, other) = hello(keep=True), hello(keep=True, stream=True)
    door.submit([whole, parts], bodies={whole.id: body, parts.id: other})
    (ends,) = while_turning(cell, lambda: list(door.wait([whole.id, parts.id], 60.0)))
    assert len(ends) == 2
    kept = door.answers([whole.id, parts.id, "nobody"])
    said = [json.loads(answer)["choices"][0]["message"]["content"] for answer in kept[:2] if answer]
    assert (said, kept[2]) == ([words(5)] * 2, None)
    assert all(answer is None for answer in door.answers([f"{whole.id}x"]))


def test_a_long_answer_is_told_like_a_short_one(cell: Cell, client: Client) -> None:
    cell.worker(echo())
    (ended,) = while_turning(cell, lambda: client.run(*hello(2_000)))
    assert len(ended.answer) > 10_000
    assert ended.text == words(2_000)


def test_threads_share_a_client_whatever_they_ask(cell: Cell, client: Client) -> None:
    cell.worker(echo())

    def one(number: int) -> str | None:
        if number % 2:
            return client.run(*hello(number + 1), timeout_s=60.0).text
        return streamed(client, *hello(number + 1, stream=True))

    tasks = [lambda number=number: one(number) for number in range(THREADS)]
    assert while_turning(cell, *tasks) == [words(number + 1) for number in range(THREADS)]


def test_who_leaves_a_stream_stops_the_engine(cell: Cell, door: Jobs) -> None:
    engine = echo(speed=0.5)
    cell.worker(engine)
    job, body = hello(50_000, stream=True)

    def left() -> str:
        with door.stream(job, body) as stream:
            next(stream)
        return stream.cancelled

    assert while_turning(cell, left) == ["ok"]
    cell.until(lambda: engine.kv_used == 0.0, "the engine to be empty")
    (record,) = door.records([job.id])
    assert record is not None
    assert record.state is State.CANCELLED


def test_a_stream_ends_with_its_worker(cell: Cell, client: Client) -> None:
    worker = cell.worker(echo(speed=0.5))
    job, body = hello(50_000, stream=True)
    stream = client.stream(job, body, timeout_s=60.0)
    assert while_turning(cell, lambda: next(stream))
    cell.die(worker)
    cell.worker(echo())

    with pytest.raises(NotCompleted, match="failed"):
        while_turning(cell, lambda: list(stream))
    assert stream.completion is not None
    assert stream.completion.report.reason == "stream_broken"


def test_a_body_that_is_no_request_fails_with_the_field(cell: Cell, client: Client) -> None:
    cell.worker(echo())
    job = Job(tenant=TENANT, prompt_tokens=1, max_tokens=5)
    (ended,) = while_turning(cell, lambda: client.run(job, b'{"messages":"hello"}'))
    with pytest.raises(NotCompleted, match=r"body\.messages"):
        ended.raise_for_outcome()


def test_an_engine_without_text_is_told_apart(cell: Cell, client: Client) -> None:
    cell.worker()  # noop
    whole, broken = hello(), hello(stream=True)
    (ended,) = while_turning(cell, lambda: client.run(*whole))
    ended.raise_for_outcome()
    assert (ended.answer, ended.text) == (b"", None)
    with pytest.raises(BrokenAnswer, match="its engine makes no text"):
        while_turning(cell, lambda: streamed(client, *broken))


@pytest.mark.sampled(1)
def test_a_job_without_a_stream_of_its_own_is_not_waited_for(cell: Cell, client: Client) -> None:
    cell.worker(echo())
    job, body = hello(stream=True)
    client.submit(job, bodies={job.id: body})  # told to the inbox
    cell.until_ended(job.id)
    with pytest.raises(BrokenAnswer, match="does not tell how"):
        while_turning(cell, lambda: streamed(client, job, body))


def test_a_stream_that_was_left_behind_is_read_again(cell: Cell, client: Client) -> None:
    """The same job, submitted again, gives the same chunks: they are there for a while."""
    cell.worker(echo())
    job, body = hello(stream=True)
    once = while_turning(cell, lambda: streamed(client, job, body))
    again = while_turning(cell, lambda: streamed(client, job, body))
    assert once == again == [words(5)]


def test_keys_are_left_with_a_time_to_live(cell: Cell, client: Client) -> None:
    cell.worker(echo())
    job, body = hello(stream=True, keep=True)
    while_turning(cell, lambda: streamed(client, job, body))
    keys = Keys("cell")
    for name in (keys.out(job.id), keys.job(job.id), keys.answer(job.id)):
        assert cell.link.call("PTTL", name) > 0
    assert cell.link.call("EXISTS", keys.body(job.id)) == 0
