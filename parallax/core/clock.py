"""Time as an argument: what a clock is, and one that a test moves by hand."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A source of time. Pure layers never see one: they are given `now`."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary origin."""

    def wait(self, seconds: float) -> None:
        """Return after that many seconds."""


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Same as `now`: this clock never goes back."""
        return self._now

    def wait(self, seconds: float) -> None:
        """Move on by `seconds`."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds}")
        self._now += seconds
