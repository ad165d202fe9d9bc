"""HTTP/1.1 as the clients of a drill speak it: little code, and everything that comes is looked at.

A client may leave at any moment: in the middle of its own request, while it waits, or half way
through the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import httptools

_READ = 65_536


@dataclass(frozen=True, slots=True)
class Leave:
    """When a client leaves: after so many seconds, or so many bytes of an answer's body.

    `sends` is the share of its request that it sends before it begins to wait.
    """

    after_s: float
    after_bytes: int | None = None
    sends: float = 1.0


@dataclass(slots=True)
class Reply:
    """What came. `whole`: the answer ended where HTTP says; else it was cut off, late, or left."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    left: bool = False
    late: bool = False
    wrong: str = ""  # what is no HTTP, or more than was asked for

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Notice a second answer to one request."""
        if self.whole:
            self.wrong = self.wrong or "more came after the end of the answer"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Note a part of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.whole = True


class Connection:
    """One connection to a gateway of this machine; requests go over it one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.reusable = False

    @classmethod
    async def to(cls, port: int, patience_s: float) -> Connection:
        """Connect; raises OSError, which TimeoutError is as well."""
        async with asyncio.timeout(patience_s):
            return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def stale(self) -> bool:
        """Whether the other side has closed it meanwhile."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        """Close it without a word."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.transport.abort()

    async def ask(self, request: bytes, patience_s: float, leave: Leave | None = None) -> Reply:
        """Send a request and return what comes; never raises for what the other side does."""
        reply = Reply()
        self.reusable = False
        patience = patience_s if leave is None else leave.after_s
        try:
            async with asyncio.timeout(patience):
                self._writer.write(request[: _share(request, leave)])
                await self._read(reply, leave)
        except TimeoutError:
            reply.left, reply.late = leave is not None, leave is None
        except OSError:
            pass  # it was cut off
        except httptools.HttpParserError as error:
            reply.wrong = f"it is no HTTP: {error}"
        if not self.reusable:
            self.close()
        return reply

    async def _read(self, reply: Reply, leave: Leave | None) -> None:
        parser = httptools.HttpResponseParser(reply)
        while not reply.whole:
            data = await self._reader.read(_READ)
            if not data:
                return
            parser.feed_data(data)
            reply.status = parser.get_status_code()
            most = None if leave is None else leave.after_bytes
            if most is not None and len(reply.body) >= most and not reply.whole:
                reply.left = True
                return
        closes = reply.headers.get("connection", "").lower() == "close"
        sent = leave is None or leave.sends >= 1.0  # else the rest of it is still waited for
        self.reusable = sent and not closes and not reply.wrong


def _share(request: bytes, leave: Leave | None) -> int:
    return len(request) if leave is None else round(len(request) * leave.sends)


def request_of(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return a POST request in JSON."""
    lines = [
        f"POST /v1{path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json",
        f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items()),
        "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("ascii") + body
