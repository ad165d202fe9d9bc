"""What a server, or what is no server of ours, says when it will not serve: why, and what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from parallax.broker.link import tls
from parallax.broker.link.connection import Link
from parallax.broker.link.errors import translated
from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.errors import StoreFull, Unreachable, Unusable

HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
DENIED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no "
    b"password is set for the default user.\r\n"
)


@pytest.fixture
def speaking() -> Iterator[Callable[..., int]]:
    """Return a function that serves some bytes, at once or as an answer; it returns the port."""
    servers: list[socket.socket] = []

    def serve(said: bytes, *, first: bool = False) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def loop() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    if not first:
                        peer.recv(1000)
                    peer.sendall(said)

        threading.Thread(target=loop, daemon=True).start()
        return int(server.getsockname()[1])

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(
    ("said", "first", "says"),
    [(HTTP, False, "it speaks HTTP"), (ALERT, False, "use rediss://"),
     (DENIED, True, "protected mode"), (b"SSH-2.0-OpenSSH\r\n", False, "is no Redis")],
    ids=["http", "tls", "protected", "ssh"],
)  # fmt: skip
@pytest.mark.parametrize("user", ["", ":pw@"])
def test_what_is_no_redis_or_will_not_serve_is_said(
    speaking: Callable[..., int], said: bytes, first: bool, says: str, user: str
) -> None:
    port = speaking(said, first=first)
    with pytest.raises(Unusable, match=says):
        Link.to(f"redis://{user}127.0.0.1:{port}").call("PING")


def test_tls_to_a_port_without_it(
    embedded: EmbeddedServer, speaking: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded.info is not None
    plain = embedded.info.tcp_url.rpartition("@")[2]
    with monkeypatch.context() as short:  # it never answers a handshake
        short.setattr(tls, "HANDSHAKE_TIMEOUT_S", 0.1)
        with pytest.raises(Unreachable, match="use redis://"):
            Link.to(f"rediss://{plain}").call("PING")
    with pytest.raises(Unusable, match="does not speak TLS: use redis://"):
        Link.to(f"rediss://127.0.0.1:{speaking(HTTP)}").call("PING")


def test_a_server_with_too_many_clients_says_so(embedded: EmbeddedServer) -> None:
    assert embedded.info is not None
    link = Link.to(embedded.info.url)
    before = link.call("CONFIG", "GET", "maxclients")[1]
    link.call("CONFIG", "SET", "maxclients", 1)
    try:
        with pytest.raises(Unreachable, match="raise its maxclients"):
            Link.to(embedded.info.tcp_url).call("PING")
    finally:
        link.call("CONFIG", "SET", "maxclients", before)
        link.close()


def test_too_few_files_here_and_a_full_disk_there_say_what_to_do() -> None:
    assert "ulimit -n" in str(translated(OSError(24, "Too many open files")))
    full = translated(OSError("MISCONF Errors writing to the AOF file: No space left on device"))
    assert isinstance(full, StoreFull)
    assert "free some space there" in str(full)
    assert "(No space left on device)" in str(full)
