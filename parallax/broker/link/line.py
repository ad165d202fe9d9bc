"""A connection of an event loop that opens itself when it is needed, and again after it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import redis

from parallax.broker.link import refusals, tls
from parallax.broker.link.dialogue import Dialogue, Reply
from parallax.broker.link.endpoint import CONNECT_TIMEOUT_S, Endpoint
from parallax.broker.link.errors import HUNG_UP, translated
from parallax.broker.link.nodes import Address, Moved, Route
from parallax.broker.link.sentinel import check_leads, demoted
from parallax.broker.link.wire import Wire
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable
from parallax.core.redis_url import FIELD, URLS

R = TypeVar("R")

#: Makes a connection to a node, or to where the URL points.
Reach = Callable[[Address | None], Awaitable[Wire]]

_SLOW = "Timeout connecting to server"


class Line:
    """Carries dialogues over one connection at a time: the one to the node that has the slot."""

    def __init__(self, reach: Reach, *, asks: bool) -> None:
        self._reach = reach
        self._route = Route(asks)
        self._wire: Wire | None = None
        self._opening: asyncio.Task[Wire] | None = None
        self._retired: list[Wire] = []
        self._served = False  # whether any server has ever answered here

    @property
    def address(self) -> str:
        """Host and port that were reached last; '' before that, and for a unix socket."""
        return f"{self._wire.host}:{self._wire.port}" if self._wire and self._wire.host else ""

    async def carry(self, dialogue: Dialogue[R]) -> R:
        """Send the commands of a dialogue and give it the replies; return its result."""
        answers: list[Reply] | None = None
        wire: Wire | None = None
        while True:
            try:
                ask = next(dialogue) if answers is None else dialogue.send(answers)
            except StopIteration as done:
                result: R = done.value
                return result
            if ask.moved is not None and wire is not None:
                self._follow(ask.moved, wire)
            wire = await self._opened()
            try:
                answers = await wire.exchange(ask.commands)
            except Unreachable as error:
                raise await self._told(wire, error) from error
            self._served = True
            if any(isinstance(one, Unreachable) and demoted(one) for one in answers):
                self._leave(wire)

    def _follow(self, moved: Moved, sent_on: Wire) -> None:
        """Leave a node that has lost the slot; commands under way there are answered yet."""
        if sent_on is self._wire:  # else somebody was sent away before us
            self._route.follow(moved, sent_on.host)
            self._wire = None
            self._retired = [wire for wire in self._retired if not wire.closed]
            self._retired.append(sent_on)
            sent_on.retire()

    def _leave(self, demoted: Wire) -> None:
        """Leave a server that has become a replica; the next dialogue asks again who leads."""
        if demoted is self._wire:
            self._wire = None
            self._retired.append(demoted)
            demoted.retire()

    async def _opened(self) -> Wire:
        if self._wire is not None and self._wire.usable:
            return self._wire
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        opening = self._opening
        try:
            return await asyncio.shield(opening)  # others wait for it, too
        except asyncio.CancelledError:
            if not opening.cancelled():
                raise
            raise Unreachable("Redis does not answer: this link was closed") from None

    async def _open(self) -> Wire:
        """Return a new connection. After a failure the next one is made elsewhere."""
        try:
            wire = await self._reach(self._route.here)
            try:
                await self._learn(wire)
            except BaseException:
                wire.drop()
                raise
        except BaseException as error:
            self._route.failed()
            if isinstance(error, redis.RedisError | OSError):
                raise translated(error) from error
            if isinstance(error, UnicodeError):  # a host that no name server could be asked for
                raise InvalidInput(FIELD, "its host", URLS) from None
            raise
        finally:
            self._opening = None
        self._wire = wire
        return wire

    async def _learn(self, wire: Wire) -> None:
        questions = self._route.questions(wire.host)
        answer = None
        while True:
            try:
                command = questions.send(answer)
            except StopIteration:
                return
            (answer,) = await wire.exchange([command])

    async def _told(self, wire: Wire, error: Unreachable) -> ParallaxError:
        """Return what broke a connection, as the server says who never served us."""
        hung_up = any(word in str(error) for word in HUNG_UP)
        if self._served or wire.served or not wire.host or not hung_up:
            return error
        return await asyncio.to_thread(refusals.greeting, wire.host, wire.port) or error

    def drop(self) -> None:
        """Close at once; the next dialogue opens a new connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.drop()

    async def close(self) -> None:
        """Close, and return when it is closed; the next dialogue opens a new connection."""
        opening = self._opening
        if opening is not None:
            opening.cancel()
            with suppress(asyncio.CancelledError, ParallaxError):
                await opening
        wires = [*self._retired, *([self._wire] if self._wire else [])]
        self._wire, self._retired = None, []
        await asyncio.gather(*(wire.close() for wire in wires))


async def reached(endpoint: Endpoint, here: Address | None, timeout_s: float) -> Wire:
    """Return a new connection to an endpoint, or to another node, as the user of the URL."""
    loop, known = asyncio.get_running_loop(), endpoint.arguments
    if endpoint.sentinels is not None:
        here = await asyncio.to_thread(endpoint.sentinels.leader)
    host, port = here or (known.get("host", "localhost"), known.get("port", 6379))
    secure = tls.context(known) if endpoint.secure else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S + (tls.HANDSHAKE_TIMEOUT_S if secure else 0)):
            if endpoint.path:
                _, wire = await loop.create_unix_connection(
                    lambda: Wire("", 0, timeout_s), endpoint.path
                )
            else:
                _, wire = await loop.create_connection(
                    lambda: Wire(host, port, timeout_s), host, port, ssl=secure,
                    ssl_handshake_timeout=tls.HANDSHAKE_TIMEOUT_S if secure else None,
                    ssl_shutdown_timeout=tls.SHUTDOWN_TIMEOUT_S if secure else None,
                )  # fmt: skip
    except TimeoutError:
        raise redis.TimeoutError(_SLOW) from None
    except ConnectionAbortedError as error:
        raise redis.TimeoutError(tls.SILENT) if secure else error from None
    try:
        await _introduced(wire, endpoint)
    except BaseException:
        wire.drop()
        raise
    return wire


async def _introduced(wire: Wire, endpoint: Endpoint) -> None:
    """Say who we are, and which database is meant."""
    user, password = endpoint.arguments.get("username"), endpoint.arguments.get("password")
    commands: list[tuple[str, ...]] = []
    if user or password:
        commands.append(("AUTH", user, password or "") if user else ("AUTH", str(password)))
    if endpoint.arguments.get("db"):
        commands.append(("SELECT", str(endpoint.arguments["db"])))
    for reply in await wire.exchange(commands):
        if isinstance(reply, ParallaxError):
            raise reply
    if endpoint.sentinels is not None:
        (role,) = await wire.exchange([("ROLE",)])
        check_leads(role)
