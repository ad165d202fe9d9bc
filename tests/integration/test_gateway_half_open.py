"""Connections on which no whole request comes are closed; those on which one comes are not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from parallax.producers.gateway import connections, serving
from parallax.producers.gateway.settings import GatewaySettings
from parallax.telemetry.metrics import exposition
from tests.integration.gateways import CHAT, Front, a_cell, fronted
from tests.waiting import wait_until

PART = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
)


@contextmanager
def connected(front: Front) -> Iterator[socket.socket]:
    address = ("127.0.0.1", urlsplit(front.base).port or 0)
    with socket.create_connection(address, timeout=60) as there:
        yield there


@pytest.fixture
def hasty(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """Yield a gateway that waits for nobody for long."""
    monkeypatch.setattr(serving, "REST_S", 0.1)
    monkeypatch.setattr(serving, "SWEEP_S", 0.01)
    limits = GatewaySettings(receive_head_s=0.2, body_s=0.2)
    with fronted(embedded_url, a_cell(embedded_url), limits) as front:
        yield front


def all_of(there: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    told = b""
    while part := there.recv(65_536):
        told += part
    return told


def closed(front: Front, kind: str) -> bool:
    """Return whether a connection was counted as closed for this."""
    name = f'parallax_gateway_closed_connections_total{{kind="{kind}"}}'
    text = exposition(front.gateway.metrics.registry).decode()
    return any(line.startswith(name) and not line.endswith(" 0.0") for line in text.splitlines())


def test_a_connection_without_a_word_is_closed(hasty: Front) -> None:
    with connected(hasty) as there:
        assert all_of(there) == b""
    assert closed(hasty, "head")
    assert not closed(hasty, "crowd")


@pytest.mark.parametrize("sent", [b"GET /hea", PART], ids=["a word", "a header"])
def test_half_a_head_is_answered_408(hasty: Front, sent: bytes) -> None:
    with connected(hasty) as there:
        there.sendall(sent)
        told = all_of(there)
    assert told.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code":"head_timeout"' in told


def test_a_body_that_does_not_come_is_answered_408_and_its_connection_closed(hasty: Front) -> None:
    with connected(hasty) as there:
        there.sendall(POST)
        told = all_of(there)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in told
    assert closed(hasty, "rest")


def test_a_head_of_many_bytes_is_refused(hasty: Front) -> None:
    with connected(hasty) as there:
        head = PART + b"x-long: "  # not a byte more than it wants to read
        there.sendall(head + b"a" * (connections.MOST_HEAD + 1 - len(head)))
        told = all_of(there)
    assert told.startswith(b"HTTP/1.1 431 ")


def test_the_oldest_of_too_many_makes_room(embedded_url: str) -> None:
    limits = GatewaySettings(max_idle=2)
    with fronted(embedded_url, a_cell(embedded_url), limits) as front:
        with connected(front) as first, connected(front), connected(front):
            assert all_of(first) == b""
        wait_until(lambda: closed(front, "crowd"), "it to be counted")
        assert front.asking.get("/health").status_code == 200


def ask_twice(there: socket.socket) -> list[bytes]:
    """Ask, and ask again over the same connection."""
    answers = []
    for _ in range(2):
        there.sendall(PART)
        there.sendall(b"\r\n")
        told = b""
        while b'{"status":"ok"}' not in told:
            part = there.recv(1_000)
            assert part, told
            told += part
        answers.append(told)
    return answers


def test_the_control_a_second_request_on_a_connection_is_answered(embedded_url: str) -> None:
    with fronted(embedded_url, a_cell(embedded_url)) as front, connected(front) as there:
        assert all(one.startswith(b"HTTP/1.1 200") for one in ask_twice(there))


def test_the_control_large_bodies_and_many_requests_at_once_are_read(embedded_url: str) -> None:
    asked = PART + b"\r\n"
    limits = GatewaySettings(hold_s=0.0)
    with fronted(embedded_url, a_cell(embedded_url), limits) as front, connected(front) as there:
        there.sendall(asked * 50)
        told = b""
        while told.count(b'{"status":"ok"}') < 50:
            part = there.recv(65_536)
            assert part, told[-500:]
            told += part
        large = front.chat(user="u" * 500, stop=["s" * 1_000] * 300)
        assert large.status_code == 503  # nobody serves the model; all of it was read


def test_what_is_under_way_is_answered_before_half_a_head_behind_it_is_cut(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SWEEP_S", 0.01)
    limits = GatewaySettings(receive_head_s=0.1, hold_s=0.6)
    body = json.dumps(CHAT).encode()
    whole = POST.replace(b": 100", b": %d" % len(body))[:-1] + body
    with fronted(embedded_url, a_cell(embedded_url), limits) as front, connected(front) as there:
        there.sendall(whole + PART)
        told = all_of(there)
    assert told.startswith(b"HTTP/1.1 503 ")
    assert told.count(b"HTTP/1.1") == 1


def test_peers_that_take_nothing_are_given_up_by_the_system() -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system does not know TCP_USER_TIMEOUT")
    with serving.listening("127.0.0.1", 0) as door:
        connections.bound_peers(door, 30.0)
        door.listen()
        with socket.create_connection(door.getsockname()), door.accept()[0] as there:
            option = there.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert option == 30_000
            assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
