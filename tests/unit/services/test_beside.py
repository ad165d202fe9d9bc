"""Blocking calls beside a loop: a cancelled task never frees the connection that its call uses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from parallax.services.beside import Beside


class Line:
    """A connection that notes when two calls are under way at once; a call lasts until `free`."""

    def __init__(self) -> None:
        self.free, self.began = threading.Event(), threading.Event()
        self.under_way, self.most = 0, 0

    def ask(self) -> str:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.began.set()
        assert self.free.wait(60)
        self.under_way -= 1
        return "answer"


async def asked_after_a_cancelled_one(
    line: Line, do: Callable[[Callable[[], str]], Awaitable[str]]
) -> str:
    """Cancel a task whose call is under way, and ask again."""
    first = asyncio.ensure_future(do(line.ask))
    assert await asyncio.to_thread(line.began.wait, 60)
    first.cancel()
    await asyncio.wait([first])
    line.began.clear()
    second = asyncio.ensure_future(do(line.ask))
    await asyncio.sleep(0)
    early = await asyncio.to_thread(line.began.wait, 0.2)  # the control's second call begins now
    line.free.set()
    assert await second == "answer"
    assert early == (line.most == 2)
    return "over"


def test_law_a_call_waits_for_the_one_whose_task_was_cancelled() -> None:
    line, beside = Line(), Beside()
    assert asyncio.run(asked_after_a_cancelled_one(line, beside.do)) == "over"
    assert line.most == 1


def test_the_control_a_lock_of_the_loop_is_given_back_too_early() -> None:
    async def run(line: Line) -> None:
        lock = asyncio.Lock()

        async def do(call: Callable[[], str]) -> str:
            async with lock:
                return await asyncio.to_thread(call)

        await asked_after_a_cancelled_one(line, do)

    line = Line()
    asyncio.run(run(line))
    assert line.most == 2


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Beside().do(lambda: 1 // 0))
