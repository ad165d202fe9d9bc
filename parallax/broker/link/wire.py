"""One connection of an event loop: any number of exchanges under way, replies matched in order.

The server answers in the order in which it was asked, so who asked first takes the next reply.
A cancelled caller leaves its place in that order, and its replies are dropped. What is asked while
nothing is under way leaves at once, the rest of that turn of the loop in one write. Two things are
bounded: exchanges under way, and bytes that wait to be sent; later callers wait for room. The
oldest exchange must be answered within `timeout_s`, or the connection is given up: all that was
under way fails, its outcome unknown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import cast

import hiredis
import redis
from redis.connection import DefaultParser

from parallax.broker.link.dialogue import Command, Reply
from parallax.broker.link.errors import translated
from parallax.core.errors import Unreachable

#: Exchanges under way at once, and bytes that may wait to be sent.
MOST_UNDER_WAY, MOST_BYTES = 1_024, 4 << 20
#: How long a connection may take to close (seconds).
CLOSING_S = 1.0

_MORE = object()  # what the parser says when a reply is not complete
_LOST = "Connection closed by server."
_LATE = "Timeout reading from socket"
_CLOSED = "this link was closed"


class _Exchange:
    """Commands that were sent, and the replies that have come so far."""

    __slots__ = ("count", "done", "replies")

    def __init__(self, count: int, done: asyncio.Future[list[Reply]]) -> None:
        self.count, self.done = count, done
        self.replies: list[Reply] = []


class Wire(asyncio.Protocol):
    """A connection that was made; once it is broken it stays so."""

    def __init__(
        self, host: str, port: int, timeout_s: float, most_under_way: int = MOST_UNDER_WAY,
        most_bytes: int = MOST_BYTES,
    ) -> None:  # fmt: skip
        self.host, self.port = host, port
        self.served = False  # whether anything was answered
        self._timeout_s, self._most, self._most_bytes = timeout_s, most_under_way, most_bytes
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=redis.exceptions.InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_MORE,
        )
        self._transport: asyncio.Transport | None = None
        self._broken: Exception | None = None
        self._retired = False
        self._under_way: deque[_Exchange] = deque()
        self._oldest_since = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._door, self._changed = asyncio.Lock(), asyncio.Event()
        self._gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def usable(self) -> bool:
        """Whether something can be asked here."""
        return self._broken is None and not self._retired

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one write; return the replies in order, errors of ours among them.

        Raises Unreachable when the connection breaks before all were answered, or when it cannot
        take any more for `timeout_s`.
        """
        if not commands:
            return []
        packed = b"".join([hiredis.pack_command(tuple(c)) for c in commands])  # type: ignore[arg-type]
        if self._door.locked() or not self._has_room():
            exchange = await self._let_in(packed, len(commands))
        else:
            exchange = self._sent(packed, len(commands))
        return await exchange.done

    async def _let_in(self, packed: bytes, count: int) -> _Exchange:
        """Send when there is room: those who came first are the first to be let in."""
        try:
            async with asyncio.timeout(self._timeout_s), self._door:
                while self._broken is None and not self._has_room():
                    self._changed.clear()
                    await self._changed.wait()
                return self._sent(packed, count)
        except TimeoutError:
            raise Unreachable(
                f"Redis does not answer: {len(self._under_way)} calls wait for it already"
            ) from None

    def _has_room(self) -> bool:
        waiting = self._unsent_bytes
        if self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        return len(self._under_way) < self._most and waiting < self._most_bytes

    def _sent(self, packed: bytes, count: int) -> _Exchange:
        if self._broken is not None:
            raise translated(self._broken)
        exchange = _Exchange(count, self._loop.create_future())
        idle = not self._under_way
        if idle:
            self._oldest_since = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        self._under_way.append(exchange)
        if idle and not self._unsent and self._transport is not None:
            self._transport.write(packed)
            return exchange
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        self._unsent_bytes += len(packed)
        return exchange

    def _flush(self) -> None:
        packed = b"".join(self._unsent)
        self._unsent, self._unsent_bytes = [], 0
        if self._broken is None and self._transport is not None:
            self._transport.write(packed)
        self._changed.set()

    def _look(self) -> None:
        """Give the connection up if its oldest exchange is not answered in time."""
        self._watch = None
        if not self._under_way:
            return
        left = self._oldest_since + self._timeout_s - self._loop.time()
        if left <= 0:
            self._break(redis.TimeoutError(_LATE))
        else:
            self._watch = self._loop.call_later(left, self._look)

    # -- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _MORE:
                self._take(reply)
        except redis.RedisError as error:
            self._break(error)

    def resume_writing(self) -> None:
        """Let in those who waited for room."""
        self._changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the exchanges under way."""
        self._break(error or redis.ConnectionError(_LOST))
        if not self._gone.done():
            self._gone.set_result(None)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Exception):
            # Of some errors redis-py says that the connection is over; so does a server that is
            # in protected mode, whatever it was asked.
            if isinstance(reply, redis.ConnectionError) or str(reply).startswith("DENIED"):
                raise reply
            reply = translated(reply)
        if not self._under_way:
            raise redis.exceptions.InvalidResponse(f"a reply that nobody asked for: {reply!r:.80}")
        self.served = True
        oldest = self._under_way[0]
        oldest.replies.append(reply)
        if len(oldest.replies) < oldest.count:
            return
        self._under_way.popleft()
        self._oldest_since = self._loop.time()
        self._changed.set()
        if not oldest.done.done():  # its caller may have been cancelled
            oldest.done.set_result(oldest.replies)
        self._rest()

    # -- the end

    def retire(self) -> None:
        """Ask no more here; close when all that is under way was answered."""
        self._retired = True
        self._rest()

    def _rest(self) -> None:
        if self._retired and not self._under_way and not self._door.locked():
            self.drop()

    def drop(self) -> None:
        """Close at once. Exchanges under way fail, their outcome unknown."""
        self._break(redis.ConnectionError(_CLOSED), gently=not self._under_way)

    async def close(self) -> None:
        """Close, and return when it is closed."""
        self.drop()
        await asyncio.wait([self._gone], timeout=CLOSING_S)
        if self._transport is not None:
            self._transport.abort()

    def _break(self, error: Exception, *, gently: bool = False) -> None:
        if self._broken is not None:
            return
        self._broken = error
        if self._watch is not None:
            self._watch.cancel()
        for exchange in self._under_way:
            if not exchange.done.done():
                exchange.done.set_exception(translated(error))
        self._under_way.clear()
        self._changed.set()
        if self._transport is not None and gently:
            self._transport.close()
        elif self._transport is not None:
            self._transport.abort()
