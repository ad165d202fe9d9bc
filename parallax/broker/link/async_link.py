"""The `Link` of an event loop: many callers, two connections, the same errors and promises.

Calls of any number of callers are under way on one connection at once; a read that blocks has
another one, so that nobody waits behind it, and one such read is under way at a time. What a `Link`
promises holds here, too: nothing is sent twice by surprise, a lost reply is `Unreachable`, every
foreign error is translated. A cancelled caller does not know the outcome of its commands.

Not safe to share between event loops: each has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import TypeVar

from parallax.broker.link import dialogue
from parallax.broker.link.call import Call, Commands
from parallax.broker.link.connection import BACKOFF_BASE_S, BACKOFF_CAP_S
from parallax.broker.link.dialogue import Command, Dialogue, Reply
from parallax.broker.link.endpoint import SOCKET_TIMEOUT_S, Endpoint
from parallax.broker.link.line import Line, Reach, reached
from parallax.broker.link.scripts import Argument
from parallax.core.errors import Unreachable

R = TypeVar("R")


class AsyncLink:
    """Connections that open themselves when they are first used, and again after they broke."""

    def __init__(self, reach: Reach, *, asks: bool = False) -> None:
        # `asks`: whether the first server is asked if it is a node of a cluster.
        self._origin = reach, asks
        self._shared, self._blocked = Line(reach, asks=asks), Line(reach, asks=asks)
        self._turn = asyncio.Lock()

    @classmethod
    def to(cls, url: str, timeout_s: float = SOCKET_TIMEOUT_S) -> AsyncLink:
        """Return a link to the server at `url` (`redis://`, `rediss://`, `unix://`).

        Raises InvalidInput for a URL that cannot be (see `parallax.core.redis_url`). `timeout_s` is
        the longest wait for a reply, once it is the next one.
        """
        endpoint = Endpoint.of(url, timeout_s)
        return cls(partial(reached, endpoint, timeout_s=timeout_s), asks=endpoint.asks)

    def twin(self) -> AsyncLink:
        """Return another link to the same server."""
        reach, asks = self._origin
        return AsyncLink(reach, asks=asks)

    @property
    def address(self) -> str:
        """Host and port that were reached last; '' before that, and for a unix socket."""
        return self._shared.address

    async def carry(self, dialogue: Dialogue[R]) -> R:
        """Send the commands of a dialogue and give it the replies; return its result."""
        return await self._shared.carry(dialogue)

    async def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply. An error reply is raised."""
        return (await self.calls([command]))[0]

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one write and return their replies; the first error reply is raised.

        Commands with a read that blocks among them go over the connection for those.
        """
        if not any(map(_blocks, commands)):
            return await self.carry(dialogue.calls(commands))
        return await self.carry_blocking(dialogue.calls(commands))

    async def carry_blocking(self, dialogue: Dialogue[R]) -> R:
        """Carry a dialogue over the connection for reads that block, when its turn has come."""
        async with self._turn:
            try:
                return await self._blocked.carry(dialogue)
            except asyncio.CancelledError:
                self._blocked.drop()  # else the next one waits behind what nobody will read
                raise

    async def do(self, call: Call[R]) -> R:
        """Carry out an operation and return its decoded reply."""
        return await self._shared.carry(dialogue.do(call))

    async def do_each(self, calls: Sequence[Call[R]]) -> list[R]:
        """Carry out operations in one write and return their decoded replies, in order."""
        return await self._shared.carry(dialogue.do_each(calls)) if calls else []

    async def ask(self, commands: Commands[R]) -> R:
        """Send plain commands in one write and return what their replies say."""
        return commands.decode(await self.calls(commands.commands))

    async def bring_scripts(self) -> bool:
        """Load all scripts, also for those whose users may only run them; False for such a user."""
        return await self._shared.carry(dialogue.bring_scripts())

    def drop(self) -> None:
        """Close the connection that calls share, at once; the next call opens a new one."""
        self._shared.drop()

    async def close(self) -> None:
        """Drop the connections; the next call opens new ones. Commands under way fail."""
        await asyncio.gather(self._shared.close(), self._blocked.close())


def _blocks(command: Command) -> bool:
    return command[0] == "XREAD" and "BLOCK" in command[1:5]


async def repeated(attempt: Callable[[], Awaitable[R]], random: Random, times: int = 5) -> R:
    """Await `attempt()` again after `Unreachable`, with jittered waits, up to `times` in all.

    Only for what answers the same when it is run twice: scripts and reads.
    """
    for n in range(times - 1):
        try:
            return await attempt()
        except Unreachable:
            await asyncio.sleep(random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**n)))
    return await attempt()
