"""Hedges: when a second attempt is due, and where it goes. Whether it may start is the policy's."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

from parallax.core.model import ClusterView
from parallax.policies.interfaces import HedgingPolicy
from parallax.scheduling.attempts import Attempts
from parallax.scheduling.eligibility import need_like
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.versions import Versions


@dataclass(slots=True)
class Hedges:
    """Timers of first attempts. O(log attempts) each.

    A job whose worker failed it before is never hedged: it may be what fails workers. What was
    predicted for an attempt is kept with it and goes with it, whatever becomes of it.
    """

    policy: HedgingPolicy
    refused: int = 0  # that were due, had somewhere to go, and that the policy did not allow
    _timers: list[tuple[float, str, int]] = field(default_factory=list)

    def sent(self, first: InFlight, fleet: Fleet, now: float) -> None:
        """A first attempt was dispatched."""
        predicted_s = fleet.expected_s(first)
        delay = self.policy.arm(first.job, predicted_s)
        first.predicted_s = predicted_s
        if delay is not None and first.job.attempt == 0:
            heapq.heappush(self._timers, (now + delay, first.job.id, first.attempt))

    def over(self, attempt: InFlight, now: float) -> None:
        """An attempt ended, or was told to stop: then its duration is a lower bound."""
        if attempt.predicted_s > 0:
            self.policy.observe(attempt.predicted_s, max(0.0, now - attempt.since))
            attempt.predicted_s = 0.0

    def next_due(self, attempts: Attempts) -> float | None:
        """Return when to look again; None if no attempt is armed."""
        if len(self._timers) > 2 * len(attempts) + 64:  # memory follows what is in flight
            self._timers = [timer for timer in self._timers if _armed(timer, attempts)]
            heapq.heapify(self._timers)
        while self._timers and not _armed(self._timers[0], attempts):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def launch(
        self, attempts: Attempts, fleet: Fleet, versions: Versions, now: float
    ) -> list[InFlight]:
        """Return hedges of those that have been in flight for too long; they are in flight now."""
        launched: list[InFlight] = []
        while self._timers and self._timers[0][0] <= now:
            first = _armed(heapq.heappop(self._timers), attempts)
            if first is None:
                continue
            here = fleet.view(first.worker)
            able = fleet.open(now, need_like(here, first.job))
            elsewhere = tuple([w for w in able if w.id != here.id])
            if not elsewhere:
                continue
            if not self.policy.allow(fleet.saturation):
                self.refused += 1
            else:
                cluster = ClusterView(elsewhere, now)
                policy = versions.policy(first.arm)
                (worker,) = policy.route([first.job], [first.estimate], cluster)
                if worker is not None:
                    launched.append(_hedge(first, worker, now))
                    attempts.track(launched[-1])
        return launched


def _armed(timer: tuple[float, str, int], attempts: Attempts) -> InFlight | None:
    """Return the attempt that a timer is for, if a hedge may still be started beside it."""
    _, job_id, attempt = timer
    first = attempts.first(job_id)
    return first if first and first.attempt == attempt and not first.hedged else None


def _hedge(first: InFlight, worker: str, now: float) -> InFlight:
    first.hedged = True
    return replace(
        first,
        worker=worker,
        attempt=first.attempt + 1,
        since=now,
        first_token=False,
        predicted_s=0.0,
        resident=0.0,
    )
