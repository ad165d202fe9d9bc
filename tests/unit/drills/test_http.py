"""Clients of gateways against a server that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest

from parallax.core.clock import ManualClock
from parallax.drills.asking import Asking
from parallax.drills.exchanges import End
from parallax.drills.gateways import Gateways
from parallax.drills.http import Connection, Leave, Reply, request_of
from parallax.drills.wishes import Manner, Wish, Wishes
from parallax.producers.gateway.problems import Code, Problem
from parallax.services.processes import Processes
from tests.asynchronous import turn

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
FULL = msgspec.json.encode(Problem(503, Code.STORE_FULL, "it is full").document())
ERROR = b"HTTP/1.1 503 No\r\ncontent-length: %d\r\n\r\n" % len(FULL) + FULL
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request on any connection with the next of these; None closes."""

    def __init__(self, *answers: bytes | None, hangs: bool = False) -> None:
        self.answers, self.hangs = [*answers], hangs
        self.connections, self.requests = 0, list[bytes]()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers and (head := await reader.readuntil(b"\r\n\r\n")):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                writer.write(answer)
            if self.hangs:
                await reader.read()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.left.set()
            writer.close()


def serving(server: Serve, test: Callable[[int], Awaitable[None]]) -> None:
    async def whole() -> None:
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        async with asyncio.timeout(60), listening:
            await test(listening.sockets[0].getsockname()[1])
            while len(asyncio.all_tasks()) > 1:  # what still serves a connection
                await turn()
            await turn()

    asyncio.run(whole())


def asked(server: Server, *, patience_s: float = 30.0, leave: Leave | None = None) -> Reply:
    replies: list[Reply] = []

    async def test(port: int) -> None:
        connection = await Connection.to(port, 5.0)
        request = request_of("/completions", b"{}" * 50, {"x-a": "b"})
        replies.append(await connection.ask(request, patience_s, leave))
        assert connection.reusable is (replies[0].whole and not replies[0].wrong)
        if leave is not None:
            await server.left.wait()
        connection.close()

    serving(server, test)
    return replies[0]


def test_an_answer_is_whole_where_http_says_so() -> None:
    server = Server(OK)
    found = asked(server)
    assert (found.status, bytes(found.body), found.whole, found.wrong) == (200, b"{}", True, "")
    assert found.headers["content-type"] == "application/json"
    assert server.requests[0].endswith(b"x-a: b\r\n\r\n" + b"{}" * 50)


@pytest.mark.parametrize("told", [None, b"", OK[:20], OK[:-1], CHUNKED + b"2\r\nab\r\n"])
def test_what_ends_before_is_cut_off(told: bytes | None) -> None:
    found = asked(Server(told))
    assert (found.whole, found.left, found.late, found.wrong) == (False, False, False, "")


@pytest.mark.parametrize("told", [OK + OK, OK + b"junk", b"SSH-2.0\r\n\r\n"])
def test_what_is_more_than_one_answer_or_no_http_is_wrong(told: bytes) -> None:
    assert asked(Server(told)).wrong


def test_who_is_answered_too_late_waits_no_longer() -> None:
    found = asked(Server(OK[:20], hangs=True), patience_s=0.05)
    assert (found.late, found.left) == (True, False)


@pytest.mark.parametrize(
    "leave", [Leave(0.05), Leave(0.05, sends=0.5), Leave(30.0, after_bytes=2)], ids=str
)
def test_a_client_leaves_when_it_is_told_to(leave: Leave) -> None:
    server = Server(CHUNKED + b"4\r\nabcd\r\n", hangs=True)
    assert asked(server, leave=leave).left
    assert len(server.requests) == (leave.sends == 1.0)


def test_a_request_that_was_sent_in_part_is_the_last_of_its_connection() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ERROR)
        await reader.read()
        writer.close()

    async def test(port: int) -> None:
        connection = await Connection.to(port, 5.0)
        request = request_of("/completions", b"{}" * 500, {})
        found = await connection.ask(request, 30.0, Leave(30.0, sends=0.5))
        assert (found.whole, connection.reusable) == (True, False)

    serving(early, test)


# -- what clients do


def wish(manner: Manner) -> Wish:
    return Wish("web-1-1", manner, "/completions", stream=False, model="echo", words=2, tokens=2)


def clients(server: Server, manner: Manner, monkeypatch: pytest.MonkeyPatch) -> Asking:
    monkeypatch.setattr("parallax.drills.asking._PAUSE_S", 0.0)
    clock = ManualClock()
    gateways = Gateways(Processes({}, clock), clock)
    made = Asking(gateways, clock, Random(1), 1.0, Wishes(1, Random(1)))

    async def test(port: int) -> None:
        gateways.ports |= {"gateway-1": port, "gateway-2": port}
        await made._grant(wish(manner))
        await made.close()

    serving(server, test)
    return made


def test_who_has_a_key_asks_again_after_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(None, None, ERROR, ERROR)
    made = clients(server, Manner.AGAIN, monkeypatch)
    ends = [one.end for one in made.exchanges]
    assert ends.count(End.CUT) >= 2
    assert ends[-2:] == [End.ERROR, End.ERROR]  # what was asked is asked once more
    assert len({request.partition(b"idempotency-key")[2] for request in server.requests}) == 1


def test_who_has_none_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(None, ERROR)
    made = clients(server, Manner.ONCE, monkeypatch)
    assert [one.end for one in made.exchanges] == [End.CUT]
    assert b"idempotency-key" not in server.requests[0]


def test_two_gateways_are_asked_at_once_and_something_else_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twice = Server(ERROR, ERROR)
    assert len(clients(twice, Manner.TWICE, monkeypatch).exchanges) == 2
    other = Server(ERROR, ERROR)
    clients(other, Manner.OTHER, monkeypatch)
    assert b" other" in other.requests[1]
    assert b" other" not in other.requests[0]
