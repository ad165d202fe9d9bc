"""A link follows its slot from node to node, sends nothing twice, and always finds a way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import hiredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis._parsers.base import BaseParser

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.link.nodes import MOST_HOPS, MOST_NODES, Moved
from parallax.broker.link.scripts import names, script
from parallax.broker.link.wire import Wire
from parallax.core.errors import StoreFault, StoreFull, Unreachable
from tests.asynchronous import LinkOverAsync
from tests.examples import examples

Command = tuple[bytes, ...]
A, B, C = ("a", 1), ("b", 2), ("c", 3)
AT_URL = A


def error(text: str) -> Exception:
    """Return an error as redis-py's parser makes it of a reply."""
    made: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return made


def moved_to(address: tuple[str, int]) -> Callable[[Command], Any]:
    return lambda _: error(f"MOVED 7 {address[0]}:{address[1]}")


@pytest.fixture(scope="module", autouse=True, params=["plain", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let networks give links of this kind."""
    Network.plain = request.param == "plain"
    yield
    Network.plain = True


class Network:
    """Servers that answer by a function each; those without one cannot be reached."""

    plain = True

    def __init__(self, **nodes: Callable[[Command], Any]) -> None:
        self.nodes = {address: nodes[address[0]] for address in (A, B, C) if address[0] in nodes}
        self.tried: list[tuple[str, int]] = []
        self.done: list[tuple[str, Command]] = []  # what was answered without an error
        self.slots: Any = [[0, 16383, [b"a", 1, b"id"], [b"b", 2, b"id"], [b"c", 3, b"id"]]]

    def connect(self, host: str = AT_URL[0], port: int = AT_URL[1]) -> Connection:
        return Connection(self, host, port)

    def link(self, *, asks: bool = False) -> Link:
        if self.plain:
            return Link(self.connect, asks=asks)
        return LinkOverAsync(AsyncLink(self.reach, asks=asks))

    async def reach(self, here: tuple[str, int] | None) -> Wire:
        """Return a wire that is quick: what it is asked is answered before anybody waits."""
        connection = self.connect(*(here or AT_URL))
        connection.connect()
        wire = Wire(connection.host, connection.port, 5.0)
        wire.connection_made(Transport(connection, wire))
        return wire

    def answer(self, address: tuple[str, int], command: Command) -> Any:
        if command == (b"CLUSTER", b"SLOTS"):
            return self.slots
        if command == (b"HELLO",):
            return [b"server", b"valkey", b"mode", b"cluster", b"modules", []]
        reply = self.nodes[address](command)
        if not isinstance(reply, Exception):
            self.done.append((address[0], command))
        return reply


class Connection:
    """A connection to one of them."""

    def __init__(self, network: Network, host: str, port: int) -> None:
        self._network, self.host, self.port = network, host, port
        self._replies: list[Any] = []

    def connect(self) -> None:
        self._network.tried.append((self.host, self.port))
        if (self.host, self.port) not in self._network.nodes:
            raise redis.ConnectionError("refused")

    def send_packed_command(self, packed: list[bytes], **_: object) -> None:
        reader = hiredis.Reader()
        reader.feed(b"".join(packed))
        while command := reader.gets():
            self._replies.append(self._network.answer((self.host, self.port), tuple(command)))

    def read_response(self, **_: object) -> Any:
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def taken(self) -> list[Any]:
        replies, self._replies = self._replies, []
        return replies

    def disconnect(self) -> None:
        pass


class Transport(asyncio.Transport):
    """Brings a wire what a connection answers."""

    def __init__(self, connection: Connection, wire: Wire) -> None:
        super().__init__()
        self._connection, self._wire = connection, wire

    def write(self, data: Any) -> None:
        self._connection.send_packed_command([data])
        for reply in self._connection.taken():
            try:
                if isinstance(reply, redis.ConnectionError):
                    raise reply
                self._wire._take(reply)
            except redis.RedisError as broken:
                self._wire.connection_lost(broken)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self._wire.connection_lost(None)

    abort = close


def echo(command: Command) -> Any:
    return command[-1]


def keyless(command: Command) -> bool:
    return len(command) == 1


def test_what_has_moved_is_sent_again_in_order_and_nothing_else() -> None:
    network = Network(a=lambda c: b"PONG" if keyless(c) else moved_to(B)(c), b=echo)
    commands = [("SET", "x", "1"), ("PING",), ("SET", "y", "2"), ("PING",), ("SET", "z", "3")]
    assert network.link().calls(commands) == [b"1", b"PONG", b"2", b"PONG", b"3"]
    assert [(where, c[1:]) for where, c in network.done] == [
        ("a", ()), ("a", ()), ("b", (b"x", b"1")), ("b", (b"y", b"2")), ("b", (b"z", b"3")),
    ]  # fmt: skip


@settings(max_examples=examples(200), deadline=None)
@given(owners=st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_every_command_is_done_once_at_its_own_node(owners: list[str]) -> None:
    def node(name: str, of: dict[str, tuple[str, int]]) -> Callable[[Command], Any]:
        def answered(command: Command) -> Any:
            owner = owners[int(command[-1])]
            return command[-1] if owner == name else moved_to(of[owner])(command)

        return answered

    of = {"a": A, "b": B, "c": C}
    network = Network(**{name: node(name, of) for name in of})
    commands = [("GET", str(n)) for n in range(len(owners))]
    assert network.link().calls(commands) == [str(n).encode() for n in range(len(owners))]
    assert sorted((int(c[-1]), where) for where, c in network.done) == list(enumerate(owners))


def test_the_node_is_remembered_when_the_link_opens_again() -> None:
    network = Network(a=moved_to(B), b=echo)
    link = network.link()
    for _ in range(3):
        assert link.call("GET", "x") == b"x"
        link.close()
    assert network.tried == [A, B, B, B]


def test_no_host_is_the_same_host() -> None:
    network = Network(a=lambda _: error("MOVED 7 :9"))
    network.nodes["a", 9] = echo
    assert network.link().call("GET", "x") == b"x"


def test_an_address_may_have_colons() -> None:
    network = Network(a=lambda _: error("MOVED 7 fe80::1:9"))
    network.nodes["fe80::1", 9] = echo
    link = network.link()
    assert link.call("GET", "x") == b"x"
    assert link.address == "fe80::1:9"


def test_nodes_that_name_each_other_do_not_send_us_round_for_ever() -> None:
    network = Network(a=moved_to(B), b=moved_to(A))
    with pytest.raises(Unreachable, match="slot 7 has moved to"):
        network.link().call("GET", "x")
    assert len(network.tried) == MOST_HOPS + 1


def test_a_slot_on_its_way_is_waited_for_and_not_followed() -> None:
    network = Network(a=lambda _: error("ASK 7 b:2"), b=echo)
    with pytest.raises(Unreachable, match="a slot is being moved: 7 b:2"):
        network.link().call("GET", "x")
    assert network.tried == [A]


def test_an_error_is_raised_after_the_rest_was_done_elsewhere() -> None:
    answers = {b"x": error("OOM command not allowed"), b"y": error("MOVED 7 b:2")}
    network = Network(a=lambda c: answers[c[1]], b=echo)
    with pytest.raises(StoreFull):
        network.link().calls([("SET", "x", "1"), ("SET", "y", "2")])
    assert network.done == [("b", (b"SET", b"y", b"2"))]


def test_scripts_are_loaded_where_the_slot_is() -> None:
    loaded: list[Command] = []

    def new(command: Command) -> Any:
        if command[0] == b"SCRIPT":
            loaded.append(command)
            return b"digest"
        return [b"ok"] if loaded else error("NOSCRIPT No matching script.")

    network = Network(a=moved_to(B), b=new)
    assert network.link().do(Call(script("renew"), ["k"], ["token", 1], list)) == [b"ok"]
    assert {where for where, _ in network.done} == {"b"}
    assert len(loaded) == len(names())


def test_a_reply_lost_at_the_new_node_is_unreachable_and_not_sent_again() -> None:
    times = iter([redis.ConnectionError("reset"), b"done"])
    network = Network(a=moved_to(B), b=lambda _: next(times))
    link = network.link()
    with pytest.raises(Unreachable, match="does not answer"):
        link.call("XADD", "x")
    assert link.call("XADD", "x") == b"done"


def test_replies_taken_apart_say_that_the_slot_has_moved() -> None:
    network = Network(a=lambda c: b"PONG" if keyless(c) else moved_to(B)(c), b=echo)
    link = Link(network.connect)
    link.send([("PING",), ("GET", "x")])
    first, second = link.receive(2)
    assert first == b"PONG"
    assert isinstance(second, Moved)
    assert isinstance(second, Unreachable)
    assert link.call("GET", "x") == b"x"


# -- when a node is gone


def called(link: Link, times: int) -> list[str]:
    """Call so often; return what came of it."""
    told = []
    for _ in range(times):
        try:
            told.append(link.call("GET", "x").decode())
        except Unreachable:
            told.append("unreachable")
            link.close()
    return told


def test_when_the_node_is_gone_the_link_begins_at_its_url_again() -> None:
    network = Network(a=moved_to(B), b=echo, c=echo)
    link = network.link()
    assert link.call("GET", "x") == b"x"
    link.close()
    del network.nodes[B]
    network.nodes[A] = moved_to(C)
    network.tried.clear()
    assert called(link, 2) == ["unreachable", "x"]
    assert network.tried == [B, A, C]


@pytest.mark.parametrize("at", [A, B])
def test_when_the_node_in_the_url_is_gone_others_are_asked(at: tuple[str, int]) -> None:
    home = {A: echo, B: moved_to(A)} if at == A else {A: moved_to(B), B: echo}
    network = Network(c=moved_to(B))
    network.nodes |= home
    link = network.link(asks=True)
    assert link.call("GET", "x") == b"x"
    link.close()
    network.nodes = {B: echo, C: moved_to(B)} if at == A else {C: echo}
    assert called(link, 6)[-1] == "x"


def test_no_more_than_a_few_nodes_are_remembered_and_all_are_tried_in_turn() -> None:
    network = Network(a=echo)
    network.slots = [[n, n, [b"n%d" % n, 6379, b"id"]] for n in range(1_000)]
    link = network.link(asks=True)
    assert link.call("GET", "x") == b"x"
    link.close()
    network.nodes.clear()
    called(link, 3 * MOST_NODES)
    assert len(set(network.tried)) == MOST_NODES + 1
    assert network.tried.count(A) >= 2


@pytest.mark.parametrize(
    "slots",
    [None, b"OK", 7, [7], [[1, 2, 3]], [[1, 2, [b"b"]]], [[1, 2, [b"b", b"x"]]],
     [[1, 2, [b"\xff", 2]]], [[1, 2, [b"?", 6379]]], error("NOPERM no permissions"),
     error("ERR unknown command")],
    ids=repr,
)  # fmt: skip
def test_whatever_a_server_says_of_its_cluster_the_link_works(slots: Any) -> None:
    network = Network(a=moved_to(B), b=echo)
    network.slots = slots
    link = network.link(asks=True)
    assert link.call("GET", "x") == b"x"
    link.close()
    network.nodes = {A: echo}
    assert called(link, 2) == ["unreachable", "x"]


def test_nodes_without_a_host_have_that_of_the_one_who_was_asked() -> None:
    network = Network(a=echo)
    network.slots = [[0, 1, [b"", 8, b"id"], [None, 9, b"id"]]]
    link = network.link(asks=True)
    link.call("GET", "x")
    link.close()
    network.nodes = {("a", 9): echo}
    assert called(link, 4)[-1] == "x"


# -- a server that is no node of a cluster


@pytest.mark.parametrize("hello", [[b"mode", b"standalone"], error("ERR unknown command"), b"OK"])
def test_a_single_server_is_asked_once_and_no_more(hello: Any) -> None:
    asked: list[Command] = []

    class Single(Network):
        def answer(self, address: tuple[str, int], command: Command) -> Any:
            asked.append(command)
            return hello if command == (b"HELLO",) else b"x"

    link = Single(a=echo).link(asks=True)
    for _ in range(3):
        link.call("GET", "x")
        link.close()
    assert asked == [(b"HELLO",), *[(b"GET", b"x")] * 3]


def test_a_unix_socket_leads_to_one_node_only() -> None:
    class Socket:
        def connect(self) -> None:
            pass

        disconnect = connect

        def send_packed_command(self, *_: object, **__: object) -> None:
            pass

        def read_response(self, **_: object) -> Any:
            raise error("MOVED 7 b:2")

    with pytest.raises(StoreFault, match="use a redis:// URL"):
        Link(Socket).call("GET", "x")


def test_links_to_urls_know_whether_to_ask() -> None:
    assert Link.to("redis://127.0.0.1:1")._route._asks
    assert not Link.to("unix:///nowhere/redis.sock")._route._asks
    assert list(islice(Link.to("redis://127.0.0.1:1")._route._others, 2)) == [None, None]
