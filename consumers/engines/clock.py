"""`clock`: waits the modelled time. For more workers than there are cores."""

from __future__ import annotations

from collections.abc import Sequence

from parallax.consumers.engines.interface import Event, Timer
from parallax.consumers.engines.modelled import ModelledEngine, event_of
from parallax.consumers.engines.registry import ENGINES, Options
from parallax.core.clock import Clock
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request


class ClockEngine(ModelledEngine):
    """The pure engine on the machine's clock.

    What happens is told with the time at which it was due, so a timer that fires late delays an
    event and never lengthens the service that is modelled.
    """

    name = "clock"

    def __init__(
        self,
        profile: Profile,
        speed: float,
        clock: Clock,
        *,
        exact: bool = False,
        batching: BatchingPolicy | None = None,
    ) -> None:
        super().__init__(profile, speed, clock, exact=exact, batching=batching)
        self._start = clock.monotonic()
        self._looked = 0.0
        self._unsaid: list[Change] = []
        self._timer: Timer | None = None
        self._due: float | None = None

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        if not self._takes_ms(request):
            self._run_until(now)
        self._take(request, now)
        self._wake_at(now)  # a look now would begin a step without those that come with it

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`: it may have ended since the last look, unsaid."""
        self._catch_up(self._clock.monotonic())
        own = [change for change in self._unsaid if change.id == request_id]
        self._unsaid = [change for change in self._unsaid if change.id != request_id]
        consumed = None
        for end in own:
            if end.finished:
                consumed = Consumed(end.prompt_tokens, end.output_tokens, end.cached_tokens)
        self._wake_at(self._looked)
        return consumed or self._drop(request_id)

    def _look(self) -> None:
        """A timer has fired: tell what happened by now, and look again when more is due."""
        self._timer = self._due = None
        now = self._clock.monotonic()
        self._catch_up(now)
        changes, self._unsaid = self._unsaid, []
        events = self._events(changes, now)
        if events:
            self._host.tell(events)
        self._wake_at(self._next_due())

    def _events(self, changes: Sequence[Change], now: float) -> list[Event]:
        """Return the events for these changes, and for the time since the last call."""
        return [
            event_of(change, self._at(change.at_ms), self._at(change.began_ms))
            for change in changes
        ]

    def _wake_at(self, due: float | None) -> None:
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due, self._timer = due, None
        if due is not None:
            self._timer = self._host.at(due, self._look)

    def _next_due(self) -> float | None:
        if self._unsaid:
            return self._looked
        due, transfer = self._engine.next_change_ms(), self._next_transfer()
        times = [self._at(due)] if due is not None else []
        times += [transfer] if transfer is not None else []
        return min(times, default=None)

    def _catch_up(self, now: float) -> None:
        while (arrival := self._transferred(now)) is not None:
            self._run_until(arrival[0])
            self._engine.add(arrival[1])
        self._run_until(now)

    def _run_until(self, at: float) -> None:
        """Advance the engine to the clock's time: a new request joins no step that began before."""
        if at > self._looked:  # a repeated call must not begin a step in between
            self._looked = at
            self._unsaid += self._engine.run_until(self._engine_ms(at))

    def _engine_ms(self, now: float) -> float:
        return (now - self._start) * 1000 * self._speed

    def _at(self, engine_ms: float) -> float:
        return self._start + engine_ms / 1000 / self._speed


@ENGINES.register("clock")
def build(options: Options) -> ClockEngine:
    """Waits the modelled time."""
    return ClockEngine(options.profile, options.speed, options.clock, batching=options.batching)
