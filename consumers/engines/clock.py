"""`clock`: waits the modelled time. For more workers than there are cores."""

from __future__ import annotations

from collections.abc import Mapping

from consumers.engines.interface import Progress
from parallax.core.clock import Clock
from parallax.engine.batch import BatchEngine, Change, Request
from parallax.engine.profiles import Profile


class ClockEngine:
    """The pure engine on the machine's clock, `speed` times faster than the profile.

    What happens is reported with the time at which it was due, so being polled late delays a report
    and never lengthens the service that is modelled.
    """

    name = "clock"

    def __init__(self, profile: Profile, speed: float, clock: Clock) -> None:
        self._engine = BatchEngine(profile)
        self._profile, self._speed, self._clock = profile, speed, clock
        self._start = clock.monotonic()
        self.slots, self.kv_capacity = profile.max_seqs, profile.kv_capacity

    @property
    def kv_used(self) -> float:
        """See `interface.Engine`."""
        return self._engine.kv_used

    @property
    def room(self) -> int:
        """See `interface.Engine`."""
        return self._engine.room

    def add(self, request: Request) -> None:
        """See `interface.Engine`."""
        if not self._engine.busy:  # an idle engine starts now, not when it was last looked at
            self._engine.now_ms = max(self._engine.now_ms, self._engine_ms(self._clock.monotonic()))
        self._engine.add(request)

    def cancel(self, request_id: str) -> int | None:
        """See `interface.Engine`."""
        return self._engine.cancel(request_id)

    def advance(self, now: float) -> list[Progress]:
        """See `interface.Engine`; never blocks."""
        changes = self._engine.run_until(self._engine_ms(now))
        return [progress_at(self._at(change.at_ms), change) for change in changes]

    def next_due(self, now: float) -> float | None:
        """See `interface.Engine`."""
        due = self._engine.next_change_ms()
        return None if due is None else self._at(due)

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {"profile": self._profile.name, "speed": self._speed}

    def _engine_ms(self, now: float) -> float:
        return (now - self._start) * 1000 * self._speed

    def _at(self, engine_ms: float) -> float:
        return self._start + engine_ms / 1000 / self._speed


def progress_at(at: float, change: Change) -> Progress:
    """Return a change of the pure engine as something that happened at that time."""
    return Progress(
        change.id,
        at,
        change.output_tokens,
        change.prompt_tokens,
        change.cached_tokens,
        change.first_token,
        change.finished,
    )
