"""An asyncio link behind the face of a plain one: so that the same tests run over both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import cache
from typing import Any, Self, TypeVar

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.link.endpoint import SOCKET_TIMEOUT_S
from parallax.broker.link.scripts import Argument
from parallax.broker.store.limits import Limits
from parallax.producers.client.async_client import AsyncClient
from parallax.producers.client.async_stream import AsyncStream
from parallax.producers.client.completion import Completion

R = TypeVar("R")
PATIENCE_S = 60.0


_STARTING = threading.Lock()


def loop() -> asyncio.AbstractEventLoop:
    """Return the loop of all of them, which runs in a thread of its own."""
    with _STARTING:
        return _loop()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="loop of the tests", daemon=True).start()
    return made


def done(work: Coroutine[Any, Any, R]) -> R:
    """Return what a coroutine returns."""
    return asyncio.run_coroutine_threadsafe(work, loop()).result(PATIENCE_S)


class LinkOverAsync(Link):
    """A link whose commands an asyncio link carries; a read under way has a plain connection."""

    def __init__(self, made: AsyncLink, plain: Link | None = None) -> None:
        super().__init__(plain._connect if plain else lambda: None)
        self.made = made

    @classmethod
    def to(cls, url: str, timeout_s: float = SOCKET_TIMEOUT_S) -> LinkOverAsync:
        return cls(AsyncLink.to(url, timeout_s), Link.to(url, timeout_s))

    def twin(self) -> Link:
        return LinkOverAsync(self.made.twin(), self)

    @property
    def address(self) -> str:
        return self.made.address

    def carry(self, dialogue: Dialogue[R]) -> R:
        return done(self.made.carry(dialogue))

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        return done(self.made.calls(commands))

    def close(self) -> None:
        super().close()
        done(self.made.close())


class ClientOverAsync:
    """An asyncio client behind the face of a plain one."""

    def __init__(self, url: str, cell: str, limits: Limits | None = None) -> None:
        self.made = AsyncClient(url, cell, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """Return a method that waits for what the one of that name returns."""
        return lambda *values, **named: done(getattr(self.made, name)(*values, **named))

    @property
    def inbox(self) -> str:
        return self.made.inbox

    def wait(self, *values: Any, **named: Any) -> Iterator[Any]:
        return _each(self.made.wait(*values, **named))

    def stream(self, *values: Any, **named: Any) -> StreamOverAsync:
        return StreamOverAsync(self.made.stream(*values, **named))


class StreamOverAsync:
    """An asyncio stream behind the face of a plain one."""

    def __init__(self, made: AsyncStream) -> None:
        self.made = made
        self._chunks = _each(made)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def __next__(self) -> bytes:
        return next(self._chunks)

    @property
    def completion(self) -> Completion | None:
        return self.made.completion

    def close(self) -> None:
        done(self.made.aclose())


def _each(some: AsyncIterator[R]) -> Iterator[R]:
    async def following() -> R | None:
        return await anext(some, None)

    while (one := done(following())) is not None:
        yield one


async def turn() -> None:
    """Let everything else that is ready in the loop run once."""
    await asyncio.sleep(0)


async def until(condition: Callable[[], object], description: str) -> None:
    """Return when the condition holds; fail with its description when it does not in time."""
    try:
        async with asyncio.timeout(20):
            while not condition():
                await turn()
    except TimeoutError:
        raise AssertionError(f"waited 20 s for: {description}") from None
