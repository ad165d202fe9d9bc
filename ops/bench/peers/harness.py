"""The harness of every measured queue, in an environment that has the queue and not Parallax.

    BENCH_REDIS_URL=... python -m ops.bench.peers.<queue> work         one worker until it is killed
    BENCH_REDIS_URL=... python -m ops.bench.peers.<queue> produce N    warm up, measure N no-op jobs

The clock runs from the first submission until the producer can read the results of all N jobs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

URL = "BENCH_REDIS_URL"
POLL_S, PATIENCE_S = 0.005, 60.0
_LOOK = 100


class Producer(Protocol):
    """A queue as its producer has it, connected."""

    def submit(self, count: int) -> None:
        """Send so many jobs, in bulk where the queue offers it."""

    def ended(self) -> bool:
        """Say whether the results of all jobs sent so far can be read. Must be cheap."""

    def last(self) -> object:
        """Return the result of the job sent last."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The builders of a queue's worker and of its producer from the server's URL."""

    work: Callable[[str], None]
    connect: Callable[[str], Producer]


def nothing() -> int:
    """Do the job: nothing, with a result."""
    return 1


def all_there(keys: list[str], present: Callable[..., int]) -> bool:
    """Take the keys that exist off the front; say whether none is left.

    Looks at the oldest only: asking for all of them each time would cost the queue its rate.
    """
    while keys and present(*keys[:_LOOK]) == len(keys[:_LOOK]):
        del keys[:_LOOK]
    return not keys


def measured(producer: Producer, count: int) -> float:
    """Send so many jobs; return the seconds until all their results could be read."""
    start = time.perf_counter()
    producer.submit(count)
    while not producer.ended():
        if time.perf_counter() - start > PATIENCE_S:
            raise TimeoutError(f"not all results within {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    seconds = time.perf_counter() - start
    if producer.last() != nothing():
        raise ValueError("the jobs ended, and not with their result")
    return seconds


def main(queue: Queue) -> None:
    """Be the worker or the producer, as the command line says."""
    role, url = sys.argv[1], os.environ[URL]
    if role == "work":
        queue.work(url)
        return
    count, producer = int(sys.argv[2]), queue.connect(url)
    measured(producer, count // 10)
    print(json.dumps({"seconds": measured(producer, count)}))
