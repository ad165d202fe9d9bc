"""Hosts of engines: one that is turned by hand, and the loop of a worker's process."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallax.consumers.engines.interface import Event, Task, Timer
from parallax.core.clock import Clock

Work = Callable[[], None]


@dataclass(slots=True)
class HandTimer:
    """A call that is made when the host is turned."""

    when: float
    work: Work
    cancelled: bool = False

    def cancel(self) -> None:
        """See `interface.Timer`."""
        self.cancelled = True


@dataclass(slots=True)
class HandHost:
    """Nothing happens until `turn` is called, and then all that is due, in order of its time."""

    clock: Clock
    events: list[Event] = field(default_factory=list)
    _timers: list[tuple[float, int, HandTimer]] = field(default_factory=list)
    _asides: list[tuple[Work, Work]] = field(default_factory=list)
    _count: int = 0

    def tell(self, events: Sequence[Event]) -> None:
        """See `interface.Host`."""
        self.events += events

    def at(self, when: float, work: Work) -> Timer:
        """See `interface.Host`."""
        timer = HandTimer(when, work)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def aside(self, work: Work, then: Work) -> None:
        """See `interface.Host`: it is done when the host is turned."""
        self._asides.append((work, then))

    def run(self, work: Coroutine[Any, Any, None]) -> Task:
        """See `interface.Host`: there is no loop here."""
        work.close()
        raise RuntimeError("this engine lives in an event loop; there is none")

    def next_due(self) -> float | None:
        """Return when something is to be done; None if nothing is."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        due = self._timers[0][0] if self._timers else None
        return self.clock.monotonic() if self._asides else due

    def turn(self) -> list[Event]:
        """Run the timers that are due, but not those that they set; return the events."""
        now, asides = self.clock.monotonic(), self._asides
        self._asides = []
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if not timer.cancelled:
                timer.work()
        for work, then in asides:
            work()
            then()
        events, self.events = self.events, []
        return events


class LoopHost:
    """The running asyncio loop. `tell` is given what engines push."""

    def __init__(self, clock: Clock, tell: Callable[[Sequence[Event]], None]) -> None:
        self._clock, self._tell = clock, tell
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, events: Sequence[Event]) -> None:
        """See `interface.Host`."""
        self._tell(events)

    def at(self, when: float, work: Work) -> Timer:
        """See `interface.Host`."""
        delay = when - self._clock.monotonic()
        return self._loop.call_later(delay, work) if delay > 0 else self._loop.call_soon(work)

    def aside(self, work: Work, then: Work) -> None:
        """See `interface.Host`."""
        self.run(self._apart(work, then))

    def run(self, work: Coroutine[Any, Any, None]) -> Task:
        """See `interface.Host`."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what still runs here."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _apart(self, work: Work, then: Work) -> None:
        await asyncio.to_thread(work)
        then()


def by_hand(work: Coroutine[Any, Any, None]) -> None:
    """Run work that never waits for the loop; raises RuntimeError if it does."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a worker that is turned by hand waited for an event loop")
