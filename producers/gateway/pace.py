"""How fast the cell works its queues off, as far as a gateway sees it: when to come back.

Seen are the totals of the cell and how many tenants have jobs that wait. A tenant is taken to get
an equal part; that is a guess, and no more is made of it than a hint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.producers.gateway.fresh import Fresh

#: How old the copy may be, and over how long the rate is taken (seconds).
FRESH_S, OVER_S = 1.0, 30.0

#: For how long a request that was refused counts as one that will come back (seconds).
REFUSED_S = 5.0

#: Most refusals that are counted.
MOST_REFUSED = 10_000


@dataclass(frozen=True, slots=True)
class Totals:
    """Jobs that have ended since the cell began, and tenants that have jobs waiting now."""

    ended: int
    tenants: int


class Pace:
    """Looked up at most once a second, and only if somebody asks."""

    def __init__(self, look: Callable[[], Totals], clock: Clock) -> None:
        """`look` asks the store; it is called beside the loop."""
        self._clock, self._look_up = clock, look
        self._seen: deque[tuple[float, int]] = deque()
        self._rate = Fresh(self._look, clock, FRESH_S)
        self._refused: deque[float] = deque(maxlen=MOST_REFUSED)

    def _look(self) -> float | None:
        totals, now = self._look_up(), self._clock.monotonic()
        self._seen.append((now, totals.ended))
        while len(self._seen) > 2 and self._seen[0][0] < now - OVER_S:
            self._seen.popleft()
        began, before = self._seen[0]
        if now - began < FRESH_S / 2 or totals.ended <= before:
            return None
        return (totals.ended - before) / (now - began) / max(1, totals.tenants)

    async def per_second(self) -> float | None:
        """Return how many jobs of a tenant end a second; None where that cannot be told."""
        try:
            return await self._rate.get()
        except ParallaxError:
            return None

    async def eta_ms(self, place: int) -> int | None:
        """Return in how many milliseconds the job at this place (from 1) may begin."""
        rate = await self.per_second()
        return None if rate is None else ceil(place / rate * 1000)

    async def back_s(self, hint_s: float | None) -> float:
        """Return when a request that finds no place should come back, in seconds.

        That is when as many places will be free as were asked for in vain lately.
        """
        now = self._clock.monotonic()
        self._refused.append(now)
        while self._refused[0] < now - REFUSED_S:
            self._refused.popleft()
        rate = await self.per_second()
        waits = 0.0 if rate is None else len(self._refused) / rate
        return max(waits, hint_s or 1.0)
