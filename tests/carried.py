"""What a worker does with its attempts, carried over a link while the test waits."""

from __future__ import annotations

from collections.abc import Sequence

from parallax.broker.link.connection import Link
from parallax.broker.store.answers import Answer
from parallax.broker.store.attempts import Assignment, Attempt, Attempts, Finish
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.relay import Chunk
from parallax.core.words import Finished, Relayed


class Carried:
    """The dialogues of `Attempts` as plain calls."""

    def __init__(self, link: Link, keys: Keys, worker: str, limits: Limits | None = None) -> None:
        self._link, self._attempts = link, Attempts(keys, worker, limits)

    def begin(
        self, assignments: Sequence[Assignment], with_bodies: bool = False
    ) -> tuple[list[Attempt], list[Attempt], list[Attempt]]:
        return self._link.carry(self._attempts.begin(assignments, with_bodies))

    def finish(self, finishes: Sequence[Finish]) -> list[Answer[Finished]]:
        return self._link.carry(self._attempts.finish(finishes))

    def relay(self, chunks: Sequence[Chunk]) -> list[Relayed]:
        return self._link.carry(self._attempts.relay(chunks))

    def progress(
        self, updates: Sequence[tuple[Attempt, str, int]], began: Sequence[Attempt] = ()
    ) -> None:
        self._link.carry(self._attempts.progress(updates, began))

    def without_use(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        return self._link.carry(self._attempts.without_use(attempts))
