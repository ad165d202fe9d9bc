"""Processes run in the fastest loop that is installed, and in Python's own where there is none."""

from __future__ import annotations

import asyncio
import sys

import pytest

from parallax.services import event_loop


async def _kind() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_it_is_uvloop() -> None:
    assert event_loop.run(_kind()) == "uvloop"


def test_it_is_pythons_own_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(_kind()) == "asyncio"


def test_it_returns_what_came_of_it_and_raises_what_went_wrong() -> None:
    async def wrong() -> None:
        raise KeyError("k")

    async def right() -> int:
        return 7

    assert event_loop.run(right()) == 7
    with pytest.raises(KeyError):
        event_loop.run(wrong())
