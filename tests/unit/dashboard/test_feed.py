"""One reader of the cell, however many watch; a quarter of an hour, and no more, is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from parallax.cli.cell_documents import CellView, Percentiles, PoliciesView
from parallax.core.errors import Unreachable
from parallax.dashboard import feed as feeds
from parallax.dashboard.feed import Feed
from parallax.dashboard.problems import Problem
from parallax.services.clock import SystemClock

NAMES = ("submitted", "completed", "failed", "rejected", "expired", "cancelled", "dead", "hedged",
         "stolen", "recovered", "output_tokens")  # fmt: skip


def view(seq: int, at: float = 0.0) -> CellView:
    nothing = Percentiles(None, None, None, 0)
    latency = dict.fromkeys(("queue_wait_s", "ttft_s", "tpot_s", "e2e_s"), nothing)
    return CellView(
        1, seq, "main", at or 1_000.0 + seq, 0.1, False, None, 0, 0, True, 0, 0, 0, 0, 0, 0, 0, 0,
        None, {}, {}, 60.0, {}, {},
        {f"{name}_per_s": 1.0 for name in NAMES}, latency, 0.02, [], 0, [], 0, [],
        PoliciesView([], None, None), {}, [],
    )  # fmt: skip


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(), 60)

    asyncio.run(whole())


def test_fifty_viewers_are_one_reader() -> None:
    async def test() -> None:
        feed = Feed(view, SystemClock())
        await feed._refresh(0.0)
        viewers = [feed.watch() for _ in range(50)]
        for viewer in viewers:
            assert await anext(viewer) == b"retry: 2000\n\n"
            assert (await anext(viewer)).startswith(b"id: 1\nevent: overview\ndata: {")
        assert feed.viewers == 50
        waiting = [asyncio.ensure_future(anext(viewer)) for viewer in viewers]
        await asyncio.sleep(0)  # all of them wait from here on
        await feed._refresh(0.0)
        events = await asyncio.gather(*waiting)
        assert {event.partition(b"\n")[0] for event in events} == {b"id: 2"}
        assert len(set(events)) == 1
        assert feed.looks == 2
        for viewer in viewers:
            await viewer.aclose()  # type: ignore[attr-defined]
        assert feed.viewers == 0

    run(test)


def test_what_was_just_seen_is_not_looked_for_again() -> None:
    async def test() -> None:
        feed = Feed(view, SystemClock())
        seen = await asyncio.gather(*(feed.latest(60.0) for _ in range(20)))
        assert {one.seq for one in seen} == {1}
        assert feed.looks == 1
        await feed.latest(0.0)
        assert feed.looks == 2  # the control: nothing is fresh enough

    run(test)


def test_who_watches_is_told_of_trouble_and_of_its_end() -> None:
    async def test() -> None:
        broken = [True]

        def look(seq: int) -> CellView:
            if broken:
                raise Unreachable("Redis does not answer")
            return view(seq)

        feed = Feed(look, SystemClock())
        await feed._refresh(0.0)
        with pytest.raises(Problem) as raised:
            await feed.latest(60.0)
        assert raised.value.code == "unreachable"
        viewer = feed.watch()
        await anext(viewer)
        event = await anext(viewer)
        assert event.startswith(b"event: trouble\n")
        assert msgspec.json.decode(event.split(b"data: ")[1])["error"]["code"] == "unreachable"
        broken.clear()
        await feed._refresh(0.0)
        assert b"event: overview" in await anext(viewer)
        await viewer.aclose()  # type: ignore[attr-defined]

    run(test)


def test_history_is_bounded_and_older_points_are_fewer() -> None:
    feed = Feed(view, SystemClock())
    for n in range(2_000):
        feed._keep(feeds.point(view(n, 10_000.0 + n)))
    columns = feed.history(900)
    at = columns["at"]
    assert at == sorted(set(at))
    assert len(at) <= feeds.FINE + feeds.COARSE
    assert at[-1] - at[0] >= 890
    assert at[-1] - at[-2] == 1.0
    assert at[1] - at[0] == feeds.COARSE_S
    assert len({len(column) for column in columns.values()}) == 1
    assert len(feed.history(10)["at"]) == 10
