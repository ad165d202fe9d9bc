"""`clock`: waits the modelled time. For more workers than there are cores."""

from __future__ import annotations

from consumers.engines.interface import Progress
from consumers.engines.modelled import ModelledEngine, progress_at
from parallax.core.clock import Clock
from parallax.engine.profiles import Profile
from parallax.engine.request import Request


class ClockEngine(ModelledEngine):
    """The pure engine on the machine's clock.

    What happens is reported with the time at which it was due, so being polled late delays a report
    and never lengthens the service that is modelled.
    """

    name = "clock"

    def __init__(self, profile: Profile, speed: float, clock: Clock) -> None:
        super().__init__(profile, speed, clock)
        self._start = clock.monotonic()

    def add(self, request: Request) -> None:
        """See `interface.Engine`."""
        if not self._engine.busy:  # an idle engine starts now, not when it was last looked at
            self._engine.now_ms = max(self._engine.now_ms, self._engine_ms(self._clock.monotonic()))
        super().add(request)

    def advance(self, now: float) -> list[Progress]:
        """See `interface.Engine`; never blocks."""
        changes = self._engine.run_until(self._engine_ms(now))
        return [progress_at(self._at(change.at_ms), change) for change in changes]

    def next_due(self, now: float) -> float | None:
        """See `interface.Engine`."""
        due = self._engine.next_change_ms()
        return None if due is None else self._at(due)

    def _engine_ms(self, now: float) -> float:
        return (now - self._start) * 1000 * self._speed

    def _at(self, engine_ms: float) -> float:
        return self._start + engine_ms / 1000 / self._speed
