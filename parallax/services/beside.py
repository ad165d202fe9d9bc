"""Blocking calls beside an event loop, one at a time: for a connection that several tasks share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Beside:
    """A thread that makes the calls of a loop's tasks, one after the other.

    A lock of the loop would not do: a task that is cancelled gives it back while its call goes on
    in a thread, and the next call over the same connection would take the replies to that one for
    its own.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "beside")

    async def do(self, call: Callable[..., T], *given: object) -> T:
        """Return what the call returns; a task that is cancelled leaves its call behind."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *given)
