"""AIMD on the wait: finds a limit on the queue by trying."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import JobView, QueueView, Rejection, check_int, check_number
from parallax.core.reasons import Reason
from parallax.policies.registry import ADMISSION


@ADMISSION.register("aimd_on_wait")
@dataclass(slots=True)
class AimdOnWait:
    """Limit the jobs that wait; lower the limit when waits are too long, raise it when it is hit.

    After every `window` dispatches, or `window_s`, the mean wait of the dispatched is looked at:
    above `target_s` the limit becomes `backoff` times as high, otherwise one job higher if it was
    reached meanwhile. The wait in the queue is the signal and not the latency: how long a job takes
    to serve says nothing of the load, and shedding on it throws good work away.

    Source: Chiu & Jain 1989; the signal as in DAGOR (SoCC'18) and Breakwater (OSDI'20). Cost: O(1).
    Use it as the general protection against overload.
    """

    target_s: float = 0.5
    window: int = 25  # dispatches; so many jobs may wait in the beginning
    window_s: float = 2.0
    backoff: float = 0.9
    least: int = 4  # jobs that may always wait
    most: int = 100_000
    _limit: float = field(init=False, repr=False)
    _waits: float = field(default=0.0, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)
    _since: float | None = field(default=None, init=False, repr=False)
    _reached: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("aimd_on_wait.target_s", self.target_s, 0.0, 86_400.0)
        check_int("aimd_on_wait.window", self.window, 1, 10**6)
        check_number("aimd_on_wait.window_s", self.window_s, 1e-3, 86_400.0)
        check_number("aimd_on_wait.backoff", self.backoff, 0.01, 0.999)
        check_int("aimd_on_wait.least", self.least, 1, 10**9)
        check_int("aimd_on_wait.most", self.most, 1, 10**9)
        self._limit = float(min(self.most, max(self.least, self.window)))

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        if queue.total_jobs >= int(self._limit):
            self._reached = True
            return Rejection(Reason.OVERLOADED, self.window_s)
        return None

    def dispatching(self, job: JobView, waited_s: float, now: float) -> Rejection | None:
        """See `interfaces.AdmissionObserver`: it only learns here."""
        self._since = now if self._since is None else self._since
        self._waits += waited_s
        self._count += 1
        if self._count >= self.window or now - self._since >= self.window_s:
            self._adapt()
        return None

    def settled(self, tenant: str, difference: float) -> None:
        """See `interfaces.AdmissionObserver`: costs do not matter here."""

    def _adapt(self) -> None:
        if self._waits / self._count > self.target_s:
            self._limit = max(float(self.least), self._limit * self.backoff)
        elif self._reached:
            self._limit = min(float(self.most), self._limit + 1.0)
        self._waits, self._count, self._since, self._reached = 0.0, 0, None, False
