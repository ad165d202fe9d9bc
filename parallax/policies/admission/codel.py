"""CoDel: shed from the queue when even the shortest wait stays too long."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

from parallax.core.model import JobView, QueueView, Rejection, check_number
from parallax.core.reasons import Reason
from parallax.policies.registry import ADMISSION


@ADMISSION.register("codel")
@dataclass(slots=True)
class Codel:
    """Shed a job at dispatch when waits have been above `target_s` for a whole `interval_s`.

    While that lasts the next one is shed after `interval_s / sqrt(count)`, faster and faster, until
    a wait falls below the target. A burst that drains within the interval costs nobody anything.
    Bulk work (negative priority) is shed first: others only when it is not there to be shed.

    Source: Nichols & Jacobson 2012, RFC 8289, with jobs for packets. Cost: O(1). Use it where load
    comes in bursts; the target is about a quarter of a usual service, the interval several.
    """

    target_s: float = 0.5
    interval_s: float = 5.0
    _above_since: float | None = field(default=None, init=False, repr=False)
    _next: float = field(default=0.0, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)
    _shedding: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("codel.target_s", self.target_s, 0.0, 86_400.0)
        check_number("codel.interval_s", self.interval_s, 1e-3, 86_400.0)

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`: everybody may wait."""
        return None

    def dispatching(self, job: JobView, waited_s: float, now: float) -> Rejection | None:
        """See `interfaces.AdmissionObserver`."""
        if waited_s < self.target_s:
            self._above_since, self._shedding = None, False
            return None
        if self._above_since is None:
            self._above_since = now
        if not self._shedding:
            if now - self._above_since < self.interval_s:
                return None
            # A period that begins soon after the last one goes on where that stopped.
            recent = now - self._next < 8 * self.interval_s
            self._shedding, self._count = True, max(1, self._count - 2) if recent else 1
            self._next = now + self.interval_s / sqrt(self._count)
            return self._shed()
        if now < self._next and job.priority >= 0:
            return None
        self._count += 1
        self._next += self.interval_s / sqrt(self._count)  # behind time, several go in a row
        return self._shed()

    def settled(self, tenant: str, difference: float) -> None:
        """See `interfaces.AdmissionObserver`: costs do not matter here."""

    def _shed(self) -> Rejection:
        return Rejection(Reason.QUEUE_DELAY, self.interval_s)
