"""When to come back: by how fast jobs end, how many tenants wait, and who was sent away."""

from __future__ import annotations

import asyncio

import pytest

from parallax.core.clock import ManualClock
from parallax.core.errors import Unreachable
from parallax.producers.gateway.pace import REFUSED_S, Pace, Totals


class Store:
    """What is looked up; it can be away."""

    def __init__(self) -> None:
        self.totals: Totals | None = Totals(0, 1)

    def look(self) -> Totals:
        if self.totals is None:
            raise Unreachable("away")
        return self.totals


def test_the_rate_is_that_of_a_tenant() -> None:
    clock, store = ManualClock(100.0), Store()
    pace = Pace(store.look, clock)

    async def test() -> None:
        assert await pace.eta_ms(3) is None  # one look tells no rate
        clock.wait(10.0)
        store.totals = Totals(100, 2)
        assert await pace.per_second() == pytest.approx(5.0)
        assert await pace.eta_ms(3) == 600
        clock.wait(60.0)
        store.totals = None
        assert await pace.per_second() is None

    asyncio.run(test())


def test_who_is_sent_away_is_told_when_there_is_room_for_all_of_them() -> None:
    clock, store = ManualClock(100.0), Store()
    pace = Pace(store.look, clock)

    async def test() -> None:
        assert await pace.back_s(None) == 1.0
        assert await pace.back_s(7.0) == 7.0
        clock.wait(10.0)
        store.totals = Totals(10, 1)
        waits = [await pace.back_s(1.0) for _ in range(5)]
        assert waits == [1.0, 2.0, 3.0, 4.0, 5.0]
        clock.wait(REFUSED_S + 1.0)
        assert await pace.back_s(1.0) < 2.0

    asyncio.run(test())
