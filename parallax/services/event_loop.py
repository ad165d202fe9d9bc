"""The event loop that processes of ours run in: the fastest that there is for this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop: uvloop's, or Python's own where there is none (Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run this in a new loop until it is done, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
