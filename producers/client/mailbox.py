"""One inbox, many who wait: what one of them reads is there for the others."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from parallax.producers.client.completion import Completion

#: Ends of jobs that nobody has asked for yet; the oldest are forgotten, their records are not.
KEPT = 10_000


class Mailbox:
    """Hands out the ends of jobs, to each who waits its own. Safe to share between threads.

    One of those who wait reads, the others wait for what it brings: however many there are, each
    end is told at once to who asks for it.
    """

    def __init__(self, news: Callable[[int], list[Completion]]) -> None:
        self._news = news
        self._ended: OrderedDict[str, Completion] = OrderedDict()
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
            self._ended[completion.job_id] = completion
        while len(self._ended) > KEPT:
            self._ended.popitem(last=False)

    def _claimed(self, wanted: Collection[str]) -> list[Completion]:
        ended = self._ended
        if len(ended) < len(wanted):
            names = [name for name in ended if name in wanted]
        else:
            names = [name for name in wanted if name in ended]
        return [ended.pop(name) for name in names]
