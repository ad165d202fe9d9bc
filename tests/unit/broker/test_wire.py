"""What leaves an asyncio connection, and when: at once, or with what else is asked in that turn."""

from __future__ import annotations

import asyncio

from parallax.broker.link.async_link import AsyncLink
from tests.unit.broker.test_async_link import Server, run


def test_an_idle_connection_sends_at_once_and_the_rest_of_a_turn_leaves_together() -> None:
    async def test(server: Server, link: AsyncLink) -> None:
        await link.call("ECHO", "open")
        wire = link._shared._wire
        assert wire is not None
        tasks = [asyncio.create_task(link.call("ECHO", str(n))) for n in range(3)]
        await asyncio.sleep(0)  # each has asked: the first is sent, the others wait for the flush
        assert (len(wire._under_way), len(wire._unsent)) == (3, 2)
        assert await asyncio.gather(*tasks) == [b"0", b"1", b"2"]
        assert not wire._unsent

    run(test)
