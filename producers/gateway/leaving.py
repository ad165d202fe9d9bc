"""Noticing that a client has left, while something is done for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

R = TypeVar("R")


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def gone(receive: Receive) -> None:
    """Return when the client has left. Its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def over(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the unfinished tasks, and return when all of them are done."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def unless_left(work: Coroutine[Any, Any, R], receive: Receive) -> R:
    """Return the result of `work`; if the client leaves before, cancel it and raise ClientLeft."""
    doing, left = asyncio.ensure_future(work), asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({doing, left}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientLeft
    finally:
        await over(doing, left)
