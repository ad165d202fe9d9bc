"""Serving a gateway over HTTP until told to stop: uvicorn in a loop of ours."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parallax.core.errors import InvalidInput
from parallax.producers.gateway.app import Gateway
from parallax.producers.gateway.problems import Code, Problem
from parallax.services import event_loop
from parallax.services.serving import QuietServer, served

#: Connections that wait to be accepted, and how long an idle one is kept (seconds).
BACKLOG, KEEP_ALIVE_S = 2_048, 15


class _Protocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it; what is no HTTP is refused in the API's own shape."""

    def send_400_response(self, msg: str) -> None:
        """See `HttpToolsProtocol`."""
        problem = Problem(400, Code.INVALID, msg)
        body = msgspec.json.encode(problem.document())
        lines = [
            b"HTTP/1.1 400 Bad Request",
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: application/json", b"content-length: %d" % len(body),
            b"connection: close", b"", body,
        ]  # fmt: skip
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()


class Serving:
    """A gateway at an address. `run` serves it; `stop` may be called from a signal's handler."""

    def __init__(self, gateway: Gateway, listening: socket.socket) -> None:
        self._gateway, self._socket = gateway, listening
        self._server = QuietServer(
            uvicorn.Config(
                gateway.app, http=_Protocol, ws="none", lifespan="on", log_config=None,
                log_level="warning", access_log=False, server_header=False, proxy_headers=False,
                backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(gateway.settings.drain_s)),
            )
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The port it listens on (useful when 0 was asked for)."""
        return int(self._socket.getsockname()[1])

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return self._server.started

    def run(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Serve until `stop`; then let what is under way end, for a while.

        Once there is hurry none of it is waited for.
        """
        event_loop.run(served(self._server, self._socket, hurried))

    def stop(self) -> None:
        """Take no new requests."""
        self._gateway.draining = True
        self._server.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to this address; raises InvalidInput if it cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput("--host", host, f"an address of this machine ({error})") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput("--host", host, f"an address of this machine ({error})") from None
        raise InvalidInput("--port", port, f"a free port of {host} ({error})") from None
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
