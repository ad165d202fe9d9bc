"""An asyncio link: many calls under way, each with its own reply, and none that waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, TypeVar

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.endpoint import Endpoint
from parallax.broker.link.line import reached
from parallax.broker.link.nodes import Address
from parallax.broker.link.wire import Wire
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault, Unreachable, Unusable
from tests.asynchronous import turn, until

T = TypeVar("T")
Command = list[bytes]
CLOSED = "redis://127.0.0.1:1"


class Server:
    """Answers as it is told, connection by connection, in parts of any size."""

    def __init__(self, sizes: Callable[[], int] = lambda: 1 << 16) -> None:
        self.answer: Callable[[Command], bytes | None] = lambda c: bulk(c[-1])  # None: hang up
        self.open = asyncio.Event()  # whether it answers at all
        self.open.set()
        self.seen: list[Command] = []
        self.connections = 0
        self.port = 0
        self._sizes = sizes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        parser = hiredis.Reader()
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                parser.feed(data)
                while command := parser.gets():
                    self.seen.append(command)
                    await self.open.wait()
                    said = b"-ERR what\r\n" if command == [b"HELLO"] else self.answer(command)
                    if said is None:
                        writer.transport.abort()
                        return
                    await self._write(writer, said)
        writer.close()

    async def _write(self, writer: asyncio.StreamWriter, said: bytes) -> None:
        while said:
            part, said = said[: (size := self._sizes())], said[size:]
            writer.write(part)
            await writer.drain()


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


@asynccontextmanager
async def serving(server: Server) -> Any:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


def run(
    test: Callable[[Server, AsyncLink], Awaitable[T]], timeout_s: float = 5.0, **kind: Any
) -> T:
    """Run a test with a server and a link to it."""

    async def whole() -> T:
        async with serving(Server(**kind)) as server:
            link = AsyncLink.to(f"redis://127.0.0.1:{server.port}", timeout_s)
            try:
                return await asyncio.wait_for(test(server, link), 90)
            finally:
                server.open.set()
                await link.close()

    return asyncio.run(whole())


async def outcome(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what comes of it: the reply, or the kind of the error."""
    try:
        return await work
    except (ParallaxError, asyncio.CancelledError) as error:
        return type(error)


# -- many at once


def test_each_of_many_callers_gets_its_own_reply_over_one_connection() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        names = [str(n) for n in range(1_000)]
        replies = await asyncio.gather(*(link.call("ECHO", name) for name in names))
        assert replies == [name.encode() for name in names]
        assert server.connections == 1

    run(test)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=30), seed=st.integers(0, 999),
       leaving=st.sets(st.integers(0, 29)))  # fmt: skip
def test_who_leaves_does_not_disturb_the_order_of_replies(
    counts: list[int], seed: int, leaving: set[int]
) -> None:
    """Replies come in parts of any size; some callers are cancelled when all has been sent."""

    async def test(server: Server, link: AsyncLink) -> None:
        await link.call("ECHO", "open")
        server.open.clear()
        asked = [[("ECHO", f"{n}-{m}") for m in range(count)] for n, count in enumerate(counts)]
        tasks = [asyncio.create_task(outcome(link.calls(commands))) for commands in asked]
        await until(lambda: len(server.seen) > 2, "all to be sent")
        for n in leaving & set(range(len(tasks))):
            tasks[n].cancel()
        await turn()
        server.open.set()
        for n, (commands, came) in enumerate(zip(asked, await asyncio.gather(*tasks), strict=True)):
            told = [command[1].encode() for command in commands]
            assert came == (asyncio.CancelledError if n in leaving else told)
        assert await link.call("ECHO", "after") == b"after"
        assert server.connections == 1

    dice = Random(seed)
    run(test, sizes=lambda: dice.randint(1, 9))


def test_an_error_reply_is_raised_to_whoever_asked() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        server.answer = lambda c: b"-ERR no\r\n" if c[-1] == b"bad" else bulk(c[-1])
        asked = [outcome(link.call("ECHO", word)) for word in ("a", "bad", "b")]
        assert await asyncio.gather(*asked) == [b"a", StoreFault, b"b"]
        assert await link.calls([]) == []

    run(test)


# -- what breaks


@pytest.mark.parametrize("said", [None, b"?junk\r\n", b"-LOADING wait\r\n", b"-NOAUTH no\r\n"])
def test_what_breaks_the_connection_fails_all_that_is_under_way(said: bytes | None) -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        await link.call("ECHO", "served before")
        server.answer = lambda c: said if c[-1] == b"3" else bulk(c[-1])
        came = await asyncio.gather(*(outcome(link.call("ECHO", str(n))) for n in range(9)))
        assert came[:3] == [b"0", b"1", b"2"]
        kinds = {*came[3:]}
        assert len(kinds) == 1
        assert issubclass(kinds.pop(), Unreachable | Unusable)
        server.answer = lambda c: bulk(c[-1])
        assert await link.call("ECHO", "again") == b"again"
        assert server.connections == 2

    run(test)


def test_a_reply_that_nobody_asked_for_breaks_the_connection() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        server.answer = lambda c: bulk(c[-1]) + (bulk(b"more") if c[-1] == b"x" else b"")
        assert await link.call("ECHO", "x") == b"x"
        await until(
            lambda: not link._shared._wire or not link._shared._wire.usable,
            "the connection to break",
        )
        assert await link.call("ECHO", "y") == b"y"
        assert server.connections == 2

    run(test)


def test_a_server_that_stays_silent_is_unreachable_after_the_timeout() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        await link.call("ECHO", "x")
        server.open.clear()
        loop = asyncio.get_running_loop()
        since = loop.time()
        came = await asyncio.gather(*(outcome(link.call("ECHO", "x")) for _ in range(50)))
        assert set(came) == {Unreachable}
        assert loop.time() - since < 5  # and not each in turn

    run(test, timeout_s=0.1)


@pytest.mark.parametrize(
    "url", [CLOSED, "rediss://127.0.0.1:1", "unix:///nowhere/r.sock", "redis://no-such.invalid"]
)
def test_a_server_that_is_not_there_is_unreachable_to_all_who_ask(url: str) -> None:
    async def asked() -> list[Any]:
        link = AsyncLink.to(url)
        return await asyncio.gather(*(outcome(link.call("PING")) for _ in range(5)))

    assert asyncio.run(asked()) == [Unreachable] * 5


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "redis://a b"])
def test_a_url_that_cannot_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="redis url"):
        AsyncLink.to(url)


def test_who_waits_for_a_connection_and_leaves_harms_nobody() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        first = asyncio.create_task(link.call("ECHO", "x"))
        second = asyncio.create_task(link.call("ECHO", "y"))
        await turn()
        first.cancel()
        assert await second == b"y"
        assert server.connections == 1

    run(test)


def test_closing_fails_what_is_under_way_and_the_next_call_opens_again() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        await link.call("ECHO", "x")
        server.open.clear()
        waiting = asyncio.create_task(outcome(link.call("ECHO", "y")))
        await until(lambda: len(server.seen) == 3, "the call to be sent")
        await link.close()
        server.open.set()
        assert await waiting is Unreachable
        opening = asyncio.create_task(outcome(link.call("ECHO", "z")))
        await turn()
        await link.close()  # nobody is left waiting for what was about to be opened
        assert await opening in (Unreachable, b"z")
        assert await link.call("ECHO", "again") == b"again"

    run(test)


def test_when_the_slot_moves_each_of_many_calls_is_done_once_where_it_is_now() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        async with serving(Server()) as other:
            await link.call("ECHO", "before")
            server.answer = lambda _: b"-MOVED 7 127.0.0.1:%d\r\n" % other.port
            names = [str(n).encode() for n in range(200)]
            assert await asyncio.gather(*(link.call("GET", n.decode()) for n in names)) == names
            assert await link.call("GET", "after") == b"after"
            assert sorted(c[1] for c in other.seen if c[0] == b"GET") == sorted([*names, b"after"])
            assert (server.connections, other.connections) == (1, 1)
            assert link.address == f"127.0.0.1:{other.port}"
            await link.close()

    run(test)


# -- bounds


def narrow(server: Server, most: int, most_bytes: int, timeout_s: float = 5.0) -> AsyncLink:
    """Return a link that lets less through."""
    endpoint = Endpoint.of(f"redis://127.0.0.1:{server.port}", timeout_s)

    async def reach(here: Address | None) -> Wire:
        wire = await reached(endpoint, here, timeout_s)
        wire._most, wire._most_bytes = most, most_bytes
        return wire

    return AsyncLink(reach)


def test_no_more_calls_are_under_way_than_may_be() -> None:
    async def test(server: Server, usual: AsyncLink) -> None:
        link = narrow(server, 4, 1 << 20)
        await link.call("ECHO", "open")
        server.open.clear()
        tasks = [asyncio.create_task(link.call("ECHO", str(n))) for n in range(20)]
        await until(lambda: len(link._shared._wire._under_way) == 4, "four calls to be under way")  # type: ignore[union-attr]
        for _ in range(20):
            await turn()
        assert len(link._shared._wire._under_way) == 4  # type: ignore[union-attr]
        tasks[7].cancel()  # at the door
        server.open.set()
        came = await asyncio.gather(*tasks, return_exceptions=True)
        came.pop(7)
        assert came == [str(n).encode() for n in range(20) if n != 7]
        order = [int(command[1]) for command in server.seen[1:]]
        assert order == sorted(order)  # who came first was let in first
        await link.close()

    run(test)


def test_who_finds_no_room_in_time_is_told_so_and_has_sent_nothing() -> None:
    async def test(server: Server, usual: AsyncLink) -> None:
        link = narrow(server, 1, 1 << 20, timeout_s=0.2)
        await link.call("ECHO", "open")
        server.open.clear()
        came = await asyncio.gather(*(outcome(link.call("ECHO", str(n))) for n in range(3)))
        assert came == [Unreachable] * 3
        assert [command[1] for command in server.seen[1:]] == [b"0"]
        server.open.set()
        await link.close()

    run(test)


def test_bytes_that_wait_to_be_sent_are_bounded() -> None:
    async def test(server: Server, usual: AsyncLink) -> None:
        link = narrow(server, 1_000, 100_000, timeout_s=60)
        await link.call("ECHO", "open")
        server.open.clear()  # it reads no more, once it has read a little
        tasks = [asyncio.create_task(link.call("ECHO", "x" * 50_000)) for _ in range(400)]
        wire = link._shared._wire
        assert wire is not None
        assert wire._transport is not None
        for _ in range(200):
            await turn()
            assert wire._unsent_bytes + wire._transport.get_write_buffer_size() < 200_000
        assert len(wire._under_way) < 400
        server.open.set()
        assert {len(reply) for reply in await asyncio.gather(*tasks)} == {50_000}
        await link.close()

    run(test, timeout_s=60)


# -- reads that block


def with_link(url: str, test: Callable[[AsyncLink], Awaitable[None]]) -> None:
    async def whole() -> None:
        link = AsyncLink.to(url)
        try:
            await asyncio.wait_for(test(link), 90)
        finally:
            await link.close()

    asyncio.run(whole())


READ = ("XREAD", "BLOCK", 2_000, "STREAMS", "s", "$")


def test_nobody_waits_behind_a_read_that_blocks(embedded_url: str) -> None:
    async def test(link: AsyncLink) -> None:
        read = asyncio.create_task(link.call(*READ))
        await until_blocked(link)
        for n in range(50):
            assert await link.call("ECHO", n) == str(n).encode()
        assert not read.done()
        await link.call("XADD", "s", "1-0", "a", "b")
        assert await read == [[b"s", [[b"1-0", [b"a", b"b"]]]]]
        assert (await link.call("CLIENT", "LIST")).count(b" db=7 ") == 2

    with_link(embedded_url.replace("db=0", "db=7"), test)  # others may not have hung up yet


async def until_blocked(link: AsyncLink) -> None:
    async with asyncio.timeout(10):
        while b"blocked_clients:1" not in await link.call("INFO", "clients"):
            pass


def test_a_read_that_was_given_up_is_not_waited_for_by_the_next(embedded_url: str) -> None:
    async def test(link: AsyncLink) -> None:
        read = asyncio.create_task(link.call(*READ))
        await until_blocked(link)
        read.cancel()
        with suppress(asyncio.CancelledError):
            await read
        since = (loop := asyncio.get_running_loop()).time()
        assert await link.calls([("XTRIM", "s", "MAXLEN", 9), ("XREAD", "BLOCK", 1, *READ[3:])])
        assert loop.time() - since < 1.5

    with_link(embedded_url, test)


def test_two_reads_that_block_take_turns(embedded_url: str) -> None:
    async def test(link: AsyncLink) -> None:
        short = ("XREAD", "COUNT", 9, "BLOCK", 20, "STREAMS", "s", "$")
        assert await asyncio.gather(*(link.call(*short) for _ in range(3))) == [None] * 3

    with_link(embedded_url, test)


def test_a_twin_has_connections_of_its_own(embedded_url: str) -> None:
    async def test(link: AsyncLink) -> None:
        twin = link.twin()
        numbers = {await one.call("CLIENT", "ID") for one in (link, twin)}
        assert len(numbers) == 2
        await twin.close()

    with_link(embedded_url, test)
