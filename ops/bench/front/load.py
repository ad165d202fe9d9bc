"""A load of chats over HTTP, plain or streamed: connections that ask as fast as they are answered,
or requests at times that were drawn before, whoever is late.

It spends little of its own: bytes are written as they are, and of an answer only the status, the
end and the number of events are read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httptools

from ops.bench.front.mock import MODEL
from parallax.core.quantiles import quantile

#: What nobody waits longer for (seconds).
PATIENCE_S = 30.0
_EVENT = b"data: {"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and with which key."""

    port: int
    key: str = "sk-bench"


def request(target: Target, words: int, *, stream: bool) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps({
        "model": MODEL, "max_tokens": words, "stream": stream,
        "messages": [{"role": "user", "content": "Say a word, and another, until I stop you."}],
    }).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{target.port}\r\n"
        f"authorization: Bearer {target.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Seen:
    """What came of requests: seconds to the first byte and to the end, words, and failures."""

    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    words: int = 0
    failed: int = 0
    why: str = ""
    seconds: float = 0.0

    def fail(self, why: str) -> None:
        """Note that a request was not answered as it should be; the first reason is kept."""
        self.failed += 1
        self.why = self.why or why

    @property
    def rate(self) -> float:
        """Requests a second that were answered."""
        return len(self.whole_s) / self.seconds if self.seconds else 0.0

    def ms(self, q: float, *, first: bool = False) -> float:
        """Return a quantile in milliseconds; 0 of nothing."""
        times = self.first_s if first else self.whole_s
        return quantile(times, q) * 1e3 if times else 0.0


class Line(asyncio.Protocol):
    """A connection; one request at a time. `heard` gets each piece of a body, if given."""

    transport: asyncio.Transport

    def __init__(self, heard: Callable[[bytes], None] | None = None) -> None:
        self._heard = heard
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.first, self.events, self.body, self._tail = 0.0, 0, b"", b""

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed before the end"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._done is not None and not self._done.done():
                self._done.set_exception(ConnectionError(f"no HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self.first = self.first or self._loop.time()
        text = self._tail + body  # an event may be cut anywhere
        self.events, self._tail = self.events + text.count(_EVENT), text[1 - len(_EVENT) :]
        if self._heard is not None:
            self._heard(body)
        elif len(self.body) < 500:
            self.body += body

    def on_message_complete(self) -> None:
        """See `httptools`."""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def ask(self, data: bytes, patience_s: float = PATIENCE_S) -> int:
        """Send a request; return the status once all of its answer is there."""
        self.first, self.events, self.body, self._tail = 0.0, 0, b"", b""
        self._parser = httptools.HttpResponseParser(self)
        self._done = self._loop.create_future()
        self.transport.write(data)
        async with asyncio.timeout(patience_s):
            await self._done
        return int(self._parser.get_status_code())

    @property
    def usable(self) -> bool:
        """Whether it can be asked again."""
        return not self.transport.is_closing() and self._parser.should_keep_alive()


async def opened(port: int, heard: Callable[[bytes], None] | None = None) -> Line:
    """Return a new connection."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        _, line = await loop.create_connection(lambda: Line(heard), "127.0.0.1", port)
    return line


@dataclass(slots=True)
class Load:
    """Requests of one kind for one target."""

    target: Target
    words: int
    stream: bool
    _idle: list[Line] = field(default_factory=list)

    async def closed(self, connections: int, seconds: float) -> Seen:
        """Ask over so many connections, each again as soon as it was answered."""
        seen, loop = Seen(), asyncio.get_running_loop()
        began = loop.time()

        async def one() -> None:
            while loop.time() < began + seconds:
                await self._one(seen, loop.time())

        await asyncio.gather(*(one() for _ in range(connections)))
        seen.seconds = loop.time() - began
        return seen

    async def open(self, rate: float, seconds: float, seed: int = 1) -> Seen:
        """Ask at times that do not depend on answers; what is late counts from when it was due."""
        seen, loop = Seen(), asyncio.get_running_loop()
        began = loop.time()
        asking: list[asyncio.Task[None]] = []
        for at in _times(rate, seconds, seed):
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            asking.append(asyncio.create_task(self._one(seen, began + at)))
        await asyncio.gather(*asking)
        seen.seconds = loop.time() - began
        return seen

    async def _one(self, seen: Seen, due: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            line = self._idle.pop() if self._idle else await opened(self.target.port)
            status = await line.ask(request(self.target, self.words, stream=self.stream))
        except (OSError, TimeoutError) as error:
            seen.fail(f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.01)  # else a server that is gone is asked in a circle
            return
        now = loop.time()
        if status != 200 or (self.stream and line.events < self.words):
            seen.fail(f"{status}, {line.events} events: {line.body[:200]!r}")
        else:
            seen.first_s.append(line.first - due)
            seen.whole_s.append(now - due)
            seen.words += self.words
        if line.usable:
            self._idle.append(line)
        else:
            line.transport.close()

    def close(self) -> None:
        """Drop the connections."""
        for line in self._idle:
            line.transport.close()
        self._idle.clear()


def _times(rate: float, seconds: float, seed: int) -> Iterator[float]:
    random, at = Random(seed), 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        yield at
