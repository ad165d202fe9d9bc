"""`cpu`: burns CPU in proportion to the tokens of every step.

Use no more of these than there are cores: beyond that they share processors, every step takes
longer than the profile says, and no queueing formula fits. `clock` is for larger fleets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from statistics import median

from parallax.consumers.engines.interface import Progress
from parallax.consumers.engines.modelled import ModelledEngine, progress_at
from parallax.core.clock import Clock
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile

#: One unit of work: hashing this much. Long enough to release the interpreter's lock meanwhile, so
#: that the heartbeat's thread runs.
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
        self._burner = burner
        self.units_per_ms = calibrated(clock, burner)

    def advance(self, now: float) -> list[Progress]:
        """See `interface.Engine`: burns one step's worth of CPU."""
        while (arrival := self._transferred(now)) is not None:
            self._engine.add(arrival[1])
        due = self._engine.next_change_ms()
        if due is None:
            return []
        step_ms = due - self._engine.now_ms
        self._burner(max(1, round(step_ms / self._speed * self.units_per_ms)))
        changes = self._engine.run_until(due)
        done = self._clock.monotonic()
        return [progress_at(done, change) for change in changes]

    def next_due(self, now: float) -> float | None:
        """See `interface.Engine`: at once, while there is work."""
        return now if self._engine.busy else self._next_transfer()

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {**super().describe(), "units_per_ms": round(self.units_per_ms, 1)}
