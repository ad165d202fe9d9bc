"""Coalesces the requests of one turn of an event loop into one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Ticks(Generic[T, R]):
    """Collects the requests of one turn of the loop and hands all of them over at once.

    `answer` is given the items in the order in which they were asked for, and returns for each a
    result, or an exception to raise to its caller. An exception of its own is raised
    to all of them. An item whose caller has left before the turn was over is not handed over.
    """

    def __init__(self, answer: Callable[[list[T]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._answer = answer
        self._asked: list[tuple[T, asyncio.Future[R]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, item: T) -> asyncio.Future[R]:
        """Return what will be told of an item."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[R] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._hand_over)
        self._asked.append((item, told))
        return told

    def _hand_over(self) -> None:
        asked, self._asked = self._asked, []
        asked = [(item, told) for item, told in asked if not told.done()]
        if asked:
            task = asyncio.get_running_loop().create_task(self._told(asked))
            self._tasks.add(task)  # else nobody holds it
            task.add_done_callback(self._tasks.discard)

    async def _told(self, asked: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._answer([item for item, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            results = [error] * len(asked)
        for (_, told), result in zip(asked, results, strict=True):
            if told.done():
                continue
            if isinstance(result, Exception):
                told.set_exception(result)
            else:
                told.set_result(result)

    async def rest(self) -> None:
        """Return when all that was handed over is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)
