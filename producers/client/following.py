"""Several jobs with streams of their own, many who follow them, and one connection.

One of those who wait reads the streams of all of them, so that each is told at once, however many
there are. A server is asked for a moment at a time: who comes in between is in the next question.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parallax.broker.store.results import Notice

#: What a stream told after a cursor: the new cursor, and the news.
Told = tuple[str, list[Notice]]

#: Longest question (milliseconds).
SLICE_MS = 20


@dataclass(slots=True, eq=False)
class _Wait:
    """Somebody who follows a job."""

    job_id: str
    cursor: str
    told: Told | None = None
    asked: bool = False  # whether a question for it was answered


class Follower:
    """Hands out what streams tell, to each who follows one. Safe to share between threads."""

    def __init__(self, read: Callable[[Mapping[str, str], int], Mapping[str, Told]]) -> None:
        """`read` is given cursors by job and milliseconds; it tells of the jobs that have news."""
        self._read = read
        self._waits: list[_Wait] = []
        self._changed = threading.Condition()
        self._reading = False

    def follow(self, job_id: str, cursor: str, block_ms: int) -> Told:
        """Return the new cursor and the messages after the old one; wait up to `block_ms` for them.

        Raises what reading raises, to the one who read.
        """
        wait = _Wait(job_id, cursor)
        with self._changed:
            self._waits.append(wait)
        try:
            self._until(wait, block_ms)
        finally:
            with self._changed:
                self._waits.remove(wait)
        return wait.told or (cursor, [])

    def _until(self, wait: _Wait, left_ms: int) -> None:
        """Return when this one was told, or the time is over; each is asked for once at least.

        Time is counted in reads: a caller that waits for one has waited as long as it may take.
        """
        while True:
            block_ms = max(0, min(SLICE_MS, left_ms))
            with self._changed:
                if wait.told is not None or (left_ms <= 0 and wait.asked):
                    return
                left_ms -= SLICE_MS
                if self._reading:
                    self._changed.wait(SLICE_MS / 1000)
                    continue
                self._reading = True
            self._ask(block_ms)

    def _ask(self, block_ms: int) -> None:
        """Read for all waiting threads; the reader wakes the others, also when it stops."""
        cursors: dict[str, str] = {}  # of two who follow one job from different places the first
        with self._changed:
            for wait in self._waits:
                cursors.setdefault(wait.job_id, wait.cursor)
        try:
            self._hand_out(cursors, self._read(cursors, block_ms))
        finally:
            with self._changed:
                self._reading = False
                self._changed.notify_all()

    def _hand_out(self, cursors: Mapping[str, str], found: Mapping[str, Told]) -> None:
        with self._changed:
            for wait in self._waits:
                if cursors.get(wait.job_id) == wait.cursor:
                    wait.told, wait.asked = found.get(wait.job_id), True
