"""Connections to a gateway: HTTP as uvicorn speaks it, and an end to all waiting.

    opened -> head -> request under way -> idle -> head ...
                                    +---> rest (answered before all of its body was there) -> idle

A head has to be whole in time and within a size, however its bytes trickle; what is under way is
the application's, which has times of its own for bodies, answers and slow readers.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parallax.producers.gateway.patience import Patience, Phase
from parallax.producers.gateway.problems import Code, Problem

#: Most bytes of a head. The application refuses less than this, in a way that says more.
MOST_HEAD = 65_536
#: A body may come in so small chunks that it is so many times its own size, and no larger.
MOST_BLOWN_UP = 8

_PHRASES = {
    400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watch:
    """The state that all connections of a gateway share."""

    patience: Patience
    head_s: float
    max_body: int


class Connection(HttpToolsProtocol):
    """HTTP as uvicorn speaks it; malformed and unfinished requests are refused in our shape."""

    def __init__(self, *given: Any, watch: Watch, **named: Any) -> None:
        super().__init__(*given, **named)
        self._watch, self._patience = watch, watch.patience
        self._bytes = 0  # of the request that is coming in
        self._begun = 0  # requests that began in the data that is read now
        self._in_head, self._in_body, self._under_way = False, False, False

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `HttpToolsProtocol`."""
        super().connection_made(transport)
        self._patience.wait(self, Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `HttpToolsProtocol`."""
        self._patience.end(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `HttpToolsProtocol`."""
        if self.transport.is_closing():
            return
        fresh, self._begun = not (self._in_head or self._in_body), 0
        self._bytes += len(data)
        super().data_received(data)
        if fresh and self._begun == 1:
            self._bytes = len(data)  # nothing of another request is in it
        if self._in_head and self._bytes > MOST_HEAD:
            self._too_large()
        elif self._in_body and self._bytes > MOST_HEAD + MOST_BLOWN_UP * self._watch.max_body:
            self.transport.close()

    # -- what the parser tells

    def on_message_begin(self) -> None:
        """See `HttpToolsProtocol`."""
        super().on_message_begin()
        self._bytes, self._begun, self._in_head = 0, self._begun + 1, True
        self._patience.wait(self, Phase.HEAD)

    def on_headers_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._in_head, self._in_body, self._under_way = False, True, True
        self._patience.end(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        super().on_message_complete()
        self._in_body = False
        if self.cycle.response_complete:
            self._patience.wait(self, Phase.IDLE)

    # -- what the application tells

    def on_response_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._under_way = bool(self.pipeline)
        waits = not self._under_way and not self._in_head and not self.transport.is_closing()
        super().on_response_complete()
        if waits:
            self._patience.wait(self, Phase.REST if self._in_body else Phase.IDLE)

    # -- refusing

    def cut(self, phase: Phase) -> None:
        """Close the connection; the request under way on it is still answered."""
        if self._under_way:
            self.cycle.keep_alive = False
        elif phase is Phase.HEAD and self._in_head:
            said = f"the head of the request did not come within {self._watch.head_s:g} s"
            self._refuse(Problem(408, Code.HEAD_TIMEOUT, said))
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """See `HttpToolsProtocol`."""
        self._refuse(Problem(400, Code.INVALID, msg))

    def _too_large(self) -> None:
        if self._under_way:
            self.transport.close()  # an answer is under way, and cannot be interrupted by another
            return
        said = f"the head of the request has more than {MOST_HEAD} bytes"
        self._refuse(Problem(431, Code.HEAD_TOO_LARGE, said))

    def _refuse(self, problem: Problem) -> None:
        body = msgspec.json.encode(problem.document())
        lines = [
            b"HTTP/1.1 %d %s" % (problem.status, _PHRASES[problem.status]),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: application/json", b"content-length: %d" % len(body),
            b"connection: close", b"", body,
        ]  # fmt: skip
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()


def bound_peers(listening: socket.socket, silent_s: float) -> None:
    """Let the system give up peers of this socket that take nothing, or are gone without a word.

    Accepted sockets inherit it. What the system does not know is left out.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = max(1, round(silent_s / 2))
    for name, value in (
        ("TCP_USER_TIMEOUT", max(1, round(silent_s * 1000))),  # what was sent, and is not taken
        ("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", seconds), ("TCP_KEEPCNT", 3),
    ):  # fmt: skip
        option = getattr(socket, name, None)
        if option is not None:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)
