"""Caches a value of the store, read beside the loop, for as long as it may be outdated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from parallax.core.clock import Clock
from parallax.services.beside import Beside

T = TypeVar("T")


class Fresh(Generic[T]):
    """A value that is read anew when somebody asks and it is older than `age_s` seconds."""

    def __init__(self, read: Callable[[], T], clock: Clock, age_s: float) -> None:
        """`read` may block; one of them is under way at a time."""
        self._read, self._clock, self._age_s = read, clock, age_s
        self._known: tuple[float, T] | None = None
        self._reading, self._beside = asyncio.Lock(), Beside()

    async def get(self) -> T:
        """Return the value; raises what reading raises."""
        found = self._young()
        if found is None:
            async with self._reading:
                found = self._young()
                if found is None:
                    value = await self._beside.do(self._read)
                    found = self._known = (self._clock.monotonic(), value)
        return found[1]

    def _young(self) -> tuple[float, T] | None:
        known = self._known
        return known if known and self._clock.monotonic() - known[0] < self._age_s else None
