"""How much a server may be given now: nothing while it fails, less while it is busy.

    up -- 3 failures in a row, or one while it is tried --> shut for 1, 2, 4, ... 30 s --> tried
     ^                                                                                      |
     +----------------------------- one request succeeds -----------------------------------+

While it is tried it gets one request at a time. A server that cannot be reached, or refuses its
key, gets nothing until it was looked at with success. Each 429 or 503 takes a part of the slots
away, at most one part a second; what succeeds gives them back, one for as many successes as there
are slots (additive increase, multiplicative decrease).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Failures in a row after which a server is left alone, and for how long (seconds).
ENOUGH, SHUT_S, LONGEST_S = 3, 1.0, 30.0

#: The share of a busy server's slots that stay in use, and the shortest time between cuts (s).
LEFT, CALM_S = 0.7, 1.0


@dataclass(slots=True)
class Valve:
    """See the module's docstring. Times are monotonic seconds."""

    total: int  # slots of a server that is well
    missing: str = "it has not been looked at"  # why it can be given nothing; '' if it can
    why: str = ""  # of the last failure
    _limit: float = 0.0
    _failures: int = 0
    _shut: int = 0  # how often in a row
    _until: float = 0.0  # it is shut
    _tried: bool = False
    _calm_at: float = 0.0

    def __post_init__(self) -> None:
        self._limit = float(self.total)

    def ready(self, now: float) -> bool:
        """Whether it may be given something."""
        return not self.missing and now >= self._until

    @property
    def slots(self) -> int:
        """How many requests it may have at once."""
        return 1 if self._tried else max(1, int(self._limit))

    @property
    def reason(self) -> str:
        """Why it gets nothing, or less."""
        return self.missing or (self.why if self._tried or self._limit < self.total else "")

    def next_due(self, now: float) -> float | None:
        """Return when it is tried again; None if that hangs on something else."""
        return self._until if self._until > now else None

    def resize(self, total: int) -> None:
        """It has so many slots."""
        if total != self.total:
            self.total, self._limit = total, float(total)

    def seen(self) -> None:
        """It was looked at, and is well."""
        self.missing = ""

    def lost(self, why: str) -> None:
        """It cannot be used until it was looked at with success."""
        self.missing = self.why = why

    def succeeded(self) -> None:
        """A request went well."""
        self._failures = self._shut = 0
        self._tried = False
        self._limit = min(float(self.total), self._limit + 1.0 / max(1.0, self._limit))

    def failed(self, why: str, now: float) -> None:
        """A request failed, and not by its own fault."""
        self._failures, self.why = self._failures + 1, why
        if now >= self._until and (self._tried or self._failures >= ENOUGH):
            self._until = now + min(LONGEST_S, SHUT_S * 2.0 ** min(self._shut, 10))
            self._shut, self._tried, self._failures = self._shut + 1, True, 0

    def busy(self, why: str, now: float) -> None:
        """It said: not now."""
        self.why = why
        if now >= self._calm_at:
            self._limit, self._calm_at = max(1.0, self._limit * LEFT), now + CALM_S
