"""`cpu`: burns CPU in proportion to the tokens of every step.

Use no more of these than there are cores: beyond that they share processors, every step takes
longer than the profile says, and no queueing formula fits. `clock` is for larger fleets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from statistics import median

from parallax.consumers.engines.modelled import ModelledEngine, events_of
from parallax.consumers.engines.registry import ENGINES, Options
from parallax.core.clock import Clock
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Consumed, Request

#: One unit of work: hashing this much. Long enough to release the interpreter's lock meanwhile, so
#: that the worker's loop and its heartbeat run.
_BLOCK = bytes(16_384)
_ROUNDS, _SAMPLES = 200, 5

Burner = Callable[[int], None]


def burn(units: int) -> None:
    """Do so many units of work."""
    digest = hashlib.sha256()
    for _ in range(units):
        digest.update(_BLOCK)


def calibrated(clock: Clock, burner: Burner = burn) -> float:
    """Return how many units this machine does in a millisecond: the median of a few samples."""
    rates = []
    for _ in range(_SAMPLES):
        start = clock.monotonic()
        burner(_ROUNDS)
        elapsed_ms = (clock.monotonic() - start) * 1000
        rates.append(_ROUNDS / max(elapsed_ms, 1e-6))
    return median(rates)


class CpuEngine(ModelledEngine):
    """The pure engine, each of whose steps costs real CPU time."""

    name = "cpu"

    def __init__(
        self,
        profile: Profile,
        speed: float,
        clock: Clock,
        burner: Burner = burn,
        batching: BatchingPolicy | None = None,
    ) -> None:
        super().__init__(profile, speed, clock, exact=True, batching=batching)
        self._burner, self._burning, self._woken = burner, False, False
        self.units_per_ms = calibrated(clock, burner)

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        self._take(request, now)
        if not self._burning and not self._woken:  # so that simultaneous requests begin together
            self._woken = True
            self._host.at(now, self._go_on)

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`. A step that burns goes on without it."""
        return self._drop(request_id)

    def _go_on(self) -> None:
        """Burn the next step's worth of CPU beside the loop, if there is one and none burns."""
        self._woken = False
        if self._burning:
            return
        now = self._clock.monotonic()
        while (arrival := self._transferred(now)) is not None:
            self._engine.add(arrival[1])
        due = self._engine.next_change_ms()
        if due is None:
            self._await_transfer()
            return
        self._burning = True
        step_ms = due - self._engine.now_ms
        units = max(1, round(step_ms / self._speed * self.units_per_ms))
        self._host.aside(lambda: self._burner(units), lambda: self._burnt(due))

    def _burnt(self, due: float) -> None:
        """End the step: report its results."""
        self._burning = False
        events = events_of(self._engine.run_until(due), self._clock.monotonic())
        if events:
            self._host.tell(events)
        self._go_on()

    def _await_transfer(self) -> None:
        transfer = self._next_transfer()
        if transfer is not None:
            self._host.at(transfer, self._go_on)

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {**super().describe(), "units_per_ms": round(self.units_per_ms, 1)}


@ENGINES.register("cpu")
def build(options: Options) -> CpuEngine:
    """Burns CPU in proportion to the tokens of every step."""
    return CpuEngine(options.profile, options.speed, options.clock, batching=options.batching)
