"""Chunks of answers on their way to clients: in order, each once, one call at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from parallax.broker.store.attempts import Attempt
from parallax.broker.store.relay import Chunk, pages_of
from parallax.core.words import Relayed


class Outgoing:
    """Chunks that were not sent yet, and those that were sent and not answered.

    Bounded by what an engine says while one call is under way.
    """

    def __init__(self) -> None:
        self._queue: deque[Chunk] = deque()
        self._sent: Sequence[Chunk] = ()
        self._owed: Counter[str] = Counter()  # chunks without an answer, by their attempt's entry

    def add(self, chunk: Chunk) -> None:
        """Take a chunk to be sent."""
        self._queue.append(chunk)
        self._owed[_entry(chunk)] += 1

    def owes(self, attempt: Attempt) -> bool:
        """Return whether chunks of an attempt have not been answered yet."""
        return attempt.assignment.entry in self._owed

    def next(self) -> Sequence[Chunk] | None:
        """Return what to send in one call; None if there is nothing, or a call is under way."""
        if self._sent or not self._queue:
            return None
        self._sent = next(iter(pages_of(list(self._queue))))
        for _ in self._sent:
            self._queue.popleft()
        return self._sent

    def answered(self, words: Sequence[str]) -> list[Attempt]:
        """Hear what the store said; return the attempts of which nobody wants any more.

        Of those nothing more is sent.
        """
        unwanted: dict[str, Attempt] = {}
        for chunk, word in zip(self._sent, words, strict=True):
            self._owed[_entry(chunk)] -= 1
            if word == Relayed.STOP:
                unwanted[_entry(chunk)] = chunk.attempt
        self._sent = ()
        if unwanted:
            self._queue = deque(c for c in self._queue if _entry(c) not in unwanted)
            for entry in unwanted:
                self._owed[entry] = 0
        self._owed = +self._owed
        return list(unwanted.values())

    def undone(self) -> None:
        """The call got no answer: all of it is sent again."""
        self._queue.extendleft(reversed(self._sent))
        self._sent = ()


def _entry(chunk: Chunk) -> str:
    return chunk.attempt.assignment.entry
