"""Orders to stop that were lost: the record of a job says whether anybody still wants it.

An order in the control stream is a hint that makes a worker stop at once. The stream keeps a
thousand of them, has a time to live, and can be deleted; the truth is that the job has ended. So a
worker looks at the records of what it runs now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallax.broker.store.attempts import Attempt, Attempts, Cancellation
from parallax.core.clock import Clock

#: How often (seconds).
LOOK_S = 5.0


class SecondLook:
    """Finds attempts whose jobs have ended without them."""

    def __init__(self, attempts: Attempts, clock: Clock) -> None:
        self._attempts, self._clock = attempts, clock
        self._looked = clock.monotonic()

    def orders(self, running: Callable[[], Sequence[Attempt]]) -> list[Cancellation]:
        """Return what the control stream should have said. One round trip when it is time."""
        now = self._clock.monotonic()
        if now - self._looked < LOOK_S:
            return []
        self._looked = now
        ended = self._attempts.without_use(running())
        return [Cancellation(a.job_id, a.assignment.attempt) for a in ended]
