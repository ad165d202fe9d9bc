"""Tells which periodic duties are due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from parallax.core.clock import Clock

#: What costs more the larger the cell is may take one part of so many of the time.
SHARE = 20


class Timetable:
    """Remembers for each duty when it is due next; at first all of them are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}

    def is_due(self, duty: str, every_s: float) -> bool:
        """Whether it is time; if so, the next time is `every_s` seconds after this one."""
        now = self._clock.monotonic()
        if now < self._due.get(duty, 0.0):
            return False
        self._due[duty] = now + every_s
        return True

    @contextmanager
    def rested(self, duty: str, every_s: float) -> Iterator[None]:
        """The duty is due again `every_s` seconds after its *end*: work comes between, too."""
        yield
        self._due[duty] = self._clock.monotonic() + every_s

    @contextmanager
    def rationed(self, duty: str) -> Iterator[None]:
        """The duty rests long enough for its share of the time."""
        started = self._clock.monotonic()
        yield
        ended = self._clock.monotonic()
        self._due[duty] = max(self._due.get(duty, 0.0), ended + (SHARE - 1) * (ended - started))
