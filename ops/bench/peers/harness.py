"""What every measured queue is asked for, in an environment that has the queue and not Parallax.

    python -m ops.bench.peers.<queue> work URL          run one worker until it is killed
    python -m ops.bench.peers.<queue> produce URL N     warm up, submit N no-op jobs, wait for all
                                                        results, print {"seconds": ...}

The clock runs from the first submission until the producer can read the results of all N jobs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

WARM_UP = 50
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's worker, and its producer: a function that returns when N results can be read."""

    work: Callable[[str], None]
    produce: Callable[[str, int], None]


def nothing() -> int:
    """Do the job: nothing, with a result."""
    return 1


def wait_until(done: Callable[[], bool], every_s: float = 0.005) -> None:
    """Poll until done; raises TimeoutError."""
    for _ in range(int(PATIENCE_S / every_s)):
        if done():
            return
        time.sleep(every_s)
    raise TimeoutError("no results within a minute")


async def wait_until_async(done: Callable[[], Awaitable[bool]], every_s: float = 0.005) -> None:
    """Poll until done; raises TimeoutError."""
    for _ in range(int(PATIENCE_S / every_s)):
        if await done():
            return
        await asyncio.sleep(every_s)
    raise TimeoutError("no results within a minute")


def main(queue: Queue) -> None:
    """Be the worker or the producer, as the command line says."""
    role, url, *rest = sys.argv[1:]
    if role == "work":
        queue.work(url)
        return
    queue.produce(url, WARM_UP)
    start = time.perf_counter()
    queue.produce(url, int(rest[0]))
    print(json.dumps({"seconds": time.perf_counter() - start}))
