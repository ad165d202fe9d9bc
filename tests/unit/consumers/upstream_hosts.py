"""An engine in front of a server, in a running loop: what it tells is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

from parallax.consumers.engines.interface import Chunk, Condition, Done, Event, Started
from parallax.consumers.hosts import LoopHost
from parallax.consumers.upstream.backend import parsed_backend
from parallax.consumers.upstream.engine import UpstreamEngine
from parallax.consumers.upstream.kinds import Facts
from parallax.engine.request import Request
from parallax.services.clock import SystemClock

CHAT = b'{"messages":[{"role":"user","content":"hi"}],"model":"tiny","max_tokens":9}'
CLOCK = SystemClock()


class Told:
    """What an engine told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    def hear(self, events: Sequence[Event]) -> None:
        self.events += events
        self._more.set()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; it is looked at whenever something is told."""
        try:
            async with asyncio.timeout(20.0):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"waited for {what}; told: {self.events[-5:]}") from None

    async def end(self, name: str = "j") -> Done:
        """Wait for the end of a request."""
        await self.until(lambda: self.ends(name), f"the end of {name}")
        return self.ends(name)[-1]

    def ends(self, name: str = "j") -> list[Done]:
        return [e for e in self.events if isinstance(e, Done) and e.id == name]

    def chunks(self, name: str = "j") -> list[bytes]:
        return [e.data for e in self.events if isinstance(e, Chunk) and e.id == name]

    def started(self, name: str = "j") -> list[Started]:
        return [e for e in self.events if isinstance(e, Started) and e.id == name]

    @property
    def condition(self) -> Condition:
        return [e for e in self.events if isinstance(e, Condition)][-1]


def request(name: str = "j", body: bytes = CHAT, *, stream: bool = True) -> Request:
    return Request(name, "", 5, 9, body=body, stream=stream)


def ask(engine: UpstreamEngine, wanted: Request) -> None:
    """Give an engine a request now."""
    engine.add(wanted, CLOCK.monotonic())


@asynccontextmanager
async def living(
    text: str, *, key: str = "", facts: Facts | None = None
) -> AsyncIterator[tuple[UpstreamEngine, Told]]:
    """Yield an engine that lives, and what it tells."""
    told = Told()
    host = LoopHost(CLOCK, told.hear)
    engine = UpstreamEngine(parsed_backend(text), CLOCK, key, facts, Random(1))
    engine.start(host)
    try:
        yield engine, told
    finally:
        await host.close()
