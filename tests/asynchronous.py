"""An asyncio link behind the face of a plain one: so that the same tests run over both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import Any, TypeVar

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.link.endpoint import SOCKET_TIMEOUT_S
from parallax.broker.link.scripts import Argument

R = TypeVar("R")
PATIENCE_S = 60.0


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Return the loop of all of them, which runs in a thread of its own."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="loop of the tests", daemon=True).start()
    return made


def done(work: Coroutine[Any, Any, R]) -> R:
    """Return what a coroutine returns."""
    return asyncio.run_coroutine_threadsafe(work, loop()).result(PATIENCE_S)


class LinkOverAsync(Link):
    """A link whose commands an asyncio link carries."""

    def __init__(self, made: AsyncLink) -> None:
        super().__init__(lambda: None)
        self.made = made

    @classmethod
    def to(cls, url: str, timeout_s: float = SOCKET_TIMEOUT_S) -> LinkOverAsync:
        return cls(AsyncLink.to(url, timeout_s))

    def twin(self) -> Link:
        return LinkOverAsync(self.made.twin())

    @property
    def address(self) -> str:
        return self.made.address

    def carry(self, dialogue: Dialogue[R]) -> R:
        return done(self.made.carry(dialogue))

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        return done(self.made.calls(commands))

    def close(self) -> None:
        done(self.made.close())


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
