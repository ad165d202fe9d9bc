"""How long connections are waited for on which no whole request is: by a clock, without sockets.

A connection waits in one phase at a time, and each phase has its own time. There is a most of them,
too: when one more comes, the one that has waited longest goes, whose request would have come long
ago if one was to come. A request that is whole costs two changes of a dictionary, and no timer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from parallax.core.clock import Clock


class Phase(StrEnum):
    """The stage in which a connection is waited for."""

    HEAD = "head"  # the head of a request, or any word on a fresh connection
    REST = "rest"  # the rest of a body that nobody wants any more: its request is answered
    IDLE = "idle"  # another request, after an answer


class Connection(Protocol):
    """A connection that can be given up."""

    def cut(self, phase: Phase) -> None:
        """Close it, because the awaited bytes did not come."""
        ...


class Patience:
    """Knows the waiting connections, and since when. `gave_up` is told of each that was cut."""

    def __init__(
        self, limits: Mapping[Phase, float], most: int, clock: Clock, gave_up: Callable[[str], None]
    ) -> None:
        """`limits` are in seconds."""
        self._limits, self._most, self._clock, self._gave_up = limits, most, clock, gave_up
        # In the order of their ends: all of one phase have the same time.
        self._waiting: dict[Phase, dict[Connection, float]] = {phase: {} for phase in Phase}
        self._phases: dict[Connection, Phase] = {}

    def __len__(self) -> int:
        """Return how many are waited for."""
        return len(self._phases)

    def wait(self, connection: Connection, phase: Phase) -> None:
        """Wait for something of a connection, from now on."""
        self.end(connection)
        self._phases[connection] = phase
        self._waiting[phase][connection] = self._clock.monotonic()
        while len(self._phases) > self._most:
            self._cut(self._longest(), "crowd")

    def end(self, connection: Connection) -> None:
        """Wait for nothing of it any more: it came, or the connection is gone."""
        phase = self._phases.pop(connection, None)
        if phase is not None:
            del self._waiting[phase][connection]

    def sweep(self) -> None:
        """Cut the connections that were waited for in vain."""
        now = self._clock.monotonic()
        for phase, waiting in self._waiting.items():
            while waiting:
                first, since = next(iter(waiting.items()))
                if now - since < self._limits[phase]:
                    break
                self._cut(first, phase.value)

    def _longest(self) -> Connection:
        firsts = [next(iter(one.items())) for one in self._waiting.values() if one]
        return min(firsts, key=lambda one: one[1])[0]

    def _cut(self, connection: Connection, why: str) -> None:
        phase = self._phases[connection]
        self.end(connection)
        self._gave_up(why)
        connection.cut(phase)


class Tally:
    """Logs now and then how many connections were given up, and why; nothing of their content."""

    def __init__(self, clock: Clock, every_s: float, say: Callable[[str], None]) -> None:
        self._clock, self._every_s, self._say = clock, every_s, say
        self._counts: Counter[str] = Counter()
        self._last = clock.monotonic() - every_s

    def count(self, why: str) -> None:
        """One was given up."""
        if why != Phase.IDLE:  # that is how connections usually end
            self._counts[why] += 1

    def tell(self) -> None:
        """Say it, if there is something to say and it was not said lately."""
        now = self._clock.monotonic()
        if not self._counts or now - self._last < self._every_s:
            return
        self._last = now
        parts = ", ".join(f"{why} {n}" for why, n in sorted(self._counts.items()))
        self._say(f"connections were closed on which no whole request came: {parts}")
        self._counts.clear()
