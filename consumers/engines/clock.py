"""`clock`: waits the modelled time. For more workers than there are cores."""

from __future__ import annotations

from parallax.consumers.engines.interface import Progress
from parallax.consumers.engines.modelled import ModelledEngine, progress_at
from parallax.core.clock import Clock
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request


class ClockEngine(ModelledEngine):
    """The pure engine on the machine's clock.

    What happens is reported with the time at which it was due, so being polled late delays a report
    and never lengthens the service that is modelled.
    """

    name = "clock"

    def __init__(
        self, profile: Profile, speed: float, clock: Clock, batching: BatchingPolicy | None = None
    ) -> None:
        super().__init__(profile, speed, clock, batching=batching)
        self._start = clock.monotonic()
        self._looked = 0.0
        self._unsaid: list[Change] = []

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        if not request.prefilled:
            self._run_until(now)
        super().add(request, now)

    def cancel(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`: it may have ended since the last look, unsaid."""
        self._catch_up(self._clock.monotonic())
        own = [change for change in self._unsaid if change.id == request_id]
        self._unsaid = [change for change in self._unsaid if change.id != request_id]
        for end in own:
            if end.finished:
                return Consumed(end.prompt_tokens, end.output_tokens, end.cached_tokens)
        return super().cancel(request_id)

    def advance(self, now: float) -> list[Progress]:
        """See `interface.Engine`; never blocks."""
        self._catch_up(now)
        changes, self._unsaid = self._unsaid, []
        return [
            progress_at(self._at(change.at_ms), change, self._at(change.began_ms))
            for change in changes
        ]

    def next_due(self, now: float) -> float | None:
        """See `interface.Engine`."""
        due = self._engine.next_change_ms()
        times = [self._at(due)] if due is not None else []
        transfer = self._next_transfer()
        times += [transfer] if transfer is not None else []
        return now if self._unsaid else min(times, default=None)

    def _catch_up(self, now: float) -> None:
        while (arrival := self._transferred(now)) is not None:
            self._run_until(arrival[0])
            self._engine.add(arrival[1])
        self._run_until(now)

    def _run_until(self, at: float) -> None:
        """Let the engine be where the clock is: what comes now joins no step that began before."""
        if at > self._looked:  # looked at twice in a moment, it would begin a step in between
            self._looked = at
            self._unsaid += self._engine.run_until(self._engine_ms(at))

    def _engine_ms(self, now: float) -> float:
        return (now - self._start) * 1000 * self._speed

    def _at(self, engine_ms: float) -> float:
        return self._start + engine_ms / 1000 / self._speed
