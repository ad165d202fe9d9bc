"""One inbox, many waiting threads: one of them reads for the others."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from parallax.producers.client.completion import Completion

#: Ends of jobs that nobody has asked for yet, and bytes of their answers; the oldest are forgotten,
#: their records are not.
KEPT, KEPT_BYTES = 10_000, 64 << 20


class Mailbox:
    """Hands each waiting thread the ends of its jobs. Safe to share between threads.

    One of the waiting threads reads, the others wait for its result: however many there are, each
    end is told at once to the thread that asks for it.
    """

    def __init__(self, news: Callable[[int], list[Completion]]) -> None:
        self._news = news
        self._ended: OrderedDict[str, Completion] = OrderedDict()
        self._bytes = 0
        self._changed = threading.Condition()
        self._reading = False

    def take(self, wanted: Collection[str], block_ms: int) -> list[Completion]:
        """Return those of the `wanted` jobs (a set) that have ended; wait up to `block_ms` for one.

        Raises what reading raises, to the one who read. O(the fewer of those that are wanted and
        those that have ended).
        """
        with self._changed:
            found = self._claimed(wanted)
            if found:
                return found
            if self._reading:
                self._changed.wait(block_ms / 1000)
                return self._claimed(wanted)
            self._reading = True
        came: list[Completion] = []
        try:
            came = self._news(block_ms)
        finally:
            with self._changed:
                self._keep(came)
                found = self._claimed(wanted)
                self._reading = False
                self._changed.notify_all()
        return found

    def _keep(self, came: Iterable[Completion]) -> None:
        for completion in came:
            self._let_go(completion.job_id)
            self._ended[completion.job_id] = completion
            self._bytes += len(completion.answer)
        while len(self._ended) > KEPT or self._bytes > KEPT_BYTES:
            self._let_go(next(iter(self._ended)))

    def _let_go(self, job_id: str) -> Completion | None:
        ended = self._ended.pop(job_id, None)
        self._bytes -= len(ended.answer) if ended else 0
        return ended

    def _claimed(self, wanted: Collection[str]) -> list[Completion]:
        ended = self._ended
        if len(ended) < len(wanted):
            names = [name for name in ended if name in wanted]
        else:
            names = [name for name in wanted if name in ended]
        return [one for one in map(self._let_go, names) if one is not None]
