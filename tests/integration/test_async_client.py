"""Many tasks of one event loop: two connections, one call a turn, and none that is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from parallax import AsyncClient, Job, Outcome
from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import Notice
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.errors import BrokenAnswer, InvalidInput, StoreFault, Unreachable
from parallax.core.words import Cancelled
from parallax.producers.client import async_client, async_inbox
from parallax.producers.client.async_inbox import Inbox, Mail, Told
from parallax.producers.client.ticks import Ticks
from tests.asynchronous import turn, until
from tests.integration.cells import Cell, StuckEngine

CALLERS = 500


@pytest.fixture
def cell(embedded_url: str) -> Cell:
    cell = Cell(lambda: Link.to(embedded_url))
    cell.scheduler()
    return cell


def small(tenant: str = "acme", **fields: Any) -> Job:
    return Job(tenant=tenant, prompt_tokens=10, max_tokens=20, output_tokens=5, **fields)


@contextmanager
def turning(cell: Cell) -> Iterator[None]:
    """Let the cell work in a thread of its own meanwhile."""
    over = threading.Event()

    def turns() -> None:
        while not over.is_set():
            cell.turn()

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def run(url: str, test: Callable[[AsyncClient], Awaitable[None]], **fields: Any) -> None:
    """Run a test with a client."""

    async def whole() -> None:
        async with AsyncClient(url, "cell", **fields) as client:
            await asyncio.wait_for(test(client), 90)

    asyncio.run(whole())


@pytest.fixture
def tcp_url(embedded: EmbeddedServer, embedded_url: str) -> str:
    """Return another address of the server: the cell itself comes through its socket."""
    assert embedded.info is not None
    return embedded.info.tcp_url


async def connections(client: AsyncClient) -> set[bytes]:
    """Return the connections to the server that came over TCP."""
    clients = (await client._link.call("CLIENT", "LIST")).split(b"\n")
    return {line.split(b" ")[0] for line in clients if b" addr=127.0.0.1:" in line}


# -- many callers


def test_law_many_callers_share_two_connections_and_each_is_told_of_its_own_job(
    cell: Cell, tcp_url: str
) -> None:
    cell.worker(NoopEngine(CALLERS))

    async def test(client: AsyncClient) -> None:
        jobs = [small(f"t{n % 7}") for n in range(CALLERS)]
        seen: set[bytes] = set()

        async def caller(job: Job) -> None:
            ended = await client.run(job, timeout_s=60)
            assert (ended.job_id, ended.outcome) == (job.id, Outcome.COMPLETED)

        tasks = [asyncio.create_task(caller(job)) for job in jobs]
        while not all(task.done() for task in tasks):
            seen |= await connections(client)
        await asyncio.gather(*tasks)
        assert len(seen) == 2

    with turning(cell):
        run(tcp_url, test)


def test_the_control_clients_of_their_own_have_connections_of_their_own(
    cell: Cell, tcp_url: str
) -> None:
    async def test(client: AsyncClient) -> None:
        await client.ping()
        before = await connections(client)
        others = [AsyncClient(tcp_url, "cell") for _ in range(5)]
        await asyncio.gather(*(other.submit(small()) for other in others))
        assert len(await connections(client) - before) >= 5
        await asyncio.gather(*(other.close() for other in others))

    run(tcp_url, test)


def test_what_one_turn_asks_is_one_call_each(
    cell: Cell, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    exchange = AsyncLink.carry, AsyncLink.do

    async def carried(link: AsyncLink, dialogue: Any) -> Any:
        ran.append(dialogue.__name__)
        return await exchange[0](link, dialogue)

    async def done(link: AsyncLink, call: Any) -> Any:
        ran.append(call.script.name)
        return await exchange[1](link, call)

    async def test(client: AsyncClient) -> None:
        jobs = [small(f"t{n}") for n in range(100)]
        await client.ping()
        monkeypatch.setattr(AsyncLink, "carry", carried)
        monkeypatch.setattr(AsyncLink, "do", done)
        await asyncio.gather(*map(client.submit, jobs))
        await asyncio.gather(*(client.records([job.id]) for job in jobs))
        words = await asyncio.gather(*(client.cancel(job.id) for job in jobs))
        assert set(words) == {"ok"}
        assert ran == ["submit", "records", "cancel"]

    run(embedded_url, test)


def test_what_is_wrong_with_one_offer_harms_no_other(cell: Cell, embedded_url: str) -> None:
    async def test(client: AsyncClient) -> None:
        large = small()
        asked = [
            client.submit(small()),
            client.submit(large, bodies={large.id: b"x" * 2_000}),
            client.submit(large, bodies={large.id: b"y" * 2_000}),  # the same id in the same turn
            client.submit([small(), small()]),
            client.submit(small(), bodies={"j": "text"}),  # type: ignore[dict-item]
        ]
        came: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        good, big, again, many, bad = came
        assert good.word == "ok"
        assert {big.word, again.word} == {"too_big"}
        assert [receipt.word for receipt in many] == ["ok", "ok"]
        assert isinstance(bad, InvalidInput)

    run(embedded_url, test, limits=Limits(max_bytes=1_000))


# -- whoever leaves


@pytest.mark.parametrize("how", ["run", "stream"])
def test_a_task_that_is_cancelled_cancels_its_job(cell: Cell, embedded_url: str, how: str) -> None:
    stuck = StuckEngine(9)
    cell.worker(stuck)

    async def test(client: AsyncClient) -> None:
        job = small()
        work: Awaitable[Any] = client.run(job) if how == "run" else anext(client.stream(job))
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(30):
            while (await client.records([job.id]))[0] is None:
                await turn()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            (ended,) = [one async for one in client.wait(job, timeout_s=30)]
        assert ended.outcome is Outcome.CANCELLED

    with turning(cell):
        run(embedded_url, test)


def test_whoever_leaves_before_it_was_sent_sends_nothing(cell: Cell, embedded_url: str) -> None:
    async def test(client: AsyncClient) -> None:
        job = small()
        task = asyncio.create_task(client.run(job))
        await turn()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until(lambda: not client._leaving, "the job to be looked for")
        (record,) = await client.records([job.id])
        assert record is None or record.outcome is Outcome.CANCELLED

    run(embedded_url, test)


@pytest.mark.parametrize("patient", [True, False])
def test_a_job_is_cancelled_once_the_store_is_back(
    cell: Cell, embedded_url: str, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    monkeypatch.setattr(async_client, "_PAUSE_S", 0.0)
    monkeypatch.setattr(async_client, "CANCELLING_S", 60.0 if patient else 0.0)
    cancel, away = AsyncClient.cancel, [Unreachable("it is away")] * 3

    async def cancelled(client: AsyncClient, job_id: str) -> Cancelled:
        if away:
            raise away.pop()
        return await cancel(client, job_id)

    monkeypatch.setattr(AsyncClient, "cancel", cancelled)
    job = small()

    async def test(client: AsyncClient) -> None:
        task = asyncio.ensure_future(client.run(job))
        async with asyncio.timeout(30):
            while (await client.records([job.id]))[0] is None:
                await turn()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until(lambda: not client._leaving, "the job to be cancelled, or given up")

    run(embedded_url, test)
    assert cell.outcome(job.id) is (Outcome.CANCELLED if patient else None)


def test_closing_waits_until_those_jobs_are_cancelled(cell: Cell, embedded_url: str) -> None:
    job = small()

    async def test(client: AsyncClient) -> None:
        task = asyncio.create_task(client.run(job))
        async with asyncio.timeout(30):
            while (await client.records([job.id]))[0] is None:
                await turn()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(embedded_url, test)
    assert cell.outcome(job.id) is Outcome.CANCELLED


# -- the mail


def test_a_reader_that_is_too_far_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_inbox, "MOST_UNREAD", 1_000)

    async def test() -> None:
        mail = Mail()
        piece = Notice("j", "chunk", b"x" * 400)
        for _ in range(2):
            mail.put(Told(piece))
        assert len(await mail.take(1.0)) == 2
        for _ in range(4):
            mail.put(Told(piece))
        with pytest.raises(BrokenAnswer, match="behind"):
            await mail.take(1.0)

    asyncio.run(test())


def test_ends_that_nobody_asks_for_are_bounded(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_inbox, "KEPT", 3)

    async def test(client: AsyncClient) -> None:
        inbox: Inbox = client._inbox
        inbox._deliver([Notice(f"j{n}", "completed", b"") for n in range(10)])
        assert list(inbox._ended) == ["j7", "j8", "j9"]
        assert [one.job_id async for one in client.wait(["j9"], 1.0)] == ["j9"]
        assert not inbox._waiting

    run(embedded_url, test)


def test_what_no_retry_will_mend_is_told_to_whoever_waits(
    cell: Cell, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(client: AsyncClient) -> None:
        receipt = await client.submit(small())

        async def broken(_: int) -> Any:
            raise StoreFault("NOPERM")

        monkeypatch.setattr(client._inbox, "_news", broken)
        with pytest.raises(StoreFault, match="NOPERM"):
            [one async for one in client.wait(receipt, timeout_s=30)]

    run(embedded_url, test)


# -- what one turn asks


def test_an_answer_goes_to_whoever_asked_and_an_error_only_to_its_own() -> None:
    handed: list[list[int]] = []

    async def answer(items: list[int]) -> list[int | Exception]:
        handed.append(items)
        return [ValueError(str(n)) if n == 3 else n * n for n in items]

    async def test() -> None:
        ticks = Ticks(answer)
        asked = [ticks.ask(n) for n in range(6)]
        asked[5].cancel()  # before the turn is over
        came = await asyncio.gather(*asked, return_exceptions=True)
        assert came[:3] == [0, 1, 4]
        assert isinstance(came[3], ValueError)
        assert handed == [[0, 1, 2, 3, 4]]
        assert await ticks.ask(7) == 49

    asyncio.run(test())


def test_what_fails_as_a_whole_is_raised_to_all() -> None:
    async def answer(items: list[int]) -> list[int]:
        raise StoreFault("all of it")

    async def test() -> None:
        ticks = Ticks(answer)
        came = await asyncio.gather(ticks.ask(1), ticks.ask(2), return_exceptions=True)
        assert [type(one) for one in came] == [StoreFault] * 2
        await ticks.rest()

    asyncio.run(test())
