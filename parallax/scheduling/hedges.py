"""Second attempts: when one is due, and where it goes. Whether it may start is the policy's."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

from parallax.core.model import ClusterView, WorkerView
from parallax.policies.interfaces import HedgingPolicy
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.fleet import Fleet, Flight
from parallax.scheduling.flights import Flights
from parallax.scheduling.versions import Versions


@dataclass(slots=True)
class Hedges:
    """Timers of first attempts. O(log attempts) each.

    A job whose worker failed it before is never doubled: it may be what fails workers. What was
    predicted for an attempt is kept with it and goes with it, whatever becomes of it.
    """

    policy: HedgingPolicy
    _timers: list[tuple[float, str, int]] = field(default_factory=list)

    def sent(self, flight: Flight, fleet: Fleet, now: float) -> None:
        """A first attempt was dispatched."""
        predicted_s = fleet.expected_s(flight)
        delay = self.policy.arm(flight.job, predicted_s)
        flight.predicted_s = predicted_s
        if delay is not None and flight.job.attempt == 0:
            heapq.heappush(self._timers, (now + delay, flight.job.id, flight.attempt))

    def over(self, flight: Flight, now: float) -> None:
        """An attempt ended, or was told to stop: then its duration is a lower bound."""
        if flight.predicted_s > 0:
            self.policy.observe(flight.predicted_s, max(0.0, now - flight.since))
            flight.predicted_s = 0.0

    def next_due(self, flights: Flights) -> float | None:
        """Return when to look again; None if no attempt is armed."""
        if len(self._timers) > 2 * len(flights) + 64:  # memory follows what flies
            self._timers = [timer for timer in self._timers if _armed(timer, flights)]
            heapq.heapify(self._timers)
        while self._timers and not _armed(self._timers[0], flights):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def launch(
        self, flights: Flights, fleet: Fleet, versions: Versions, now: float
    ) -> list[Dispatch]:
        """Start second attempts for those that have flown for too long."""
        launched: list[Dispatch] = []
        while self._timers and self._timers[0][0] <= now:
            first = _armed(heapq.heappop(self._timers), flights)
            if first is None:
                continue
            elsewhere = _elsewhere(fleet, first, now)
            if elsewhere and self.policy.allow(fleet.saturation):
                cluster = ClusterView(elsewhere, now)
                policy = versions.policy(first.arm)
                (worker,) = policy.route([first.job], [first.estimate], cluster)
                if worker is not None:
                    launched.append(_doubled(first, worker, flights, fleet, now))
        return launched


def _armed(timer: tuple[float, str, int], flights: Flights) -> Flight | None:
    """Return the attempt that a timer is for, if a second one may still be started beside it."""
    _, job_id, attempt = timer
    first = flights.by_job.get(job_id)
    return first if first and first.attempt == attempt and not first.hedged else None


def _elsewhere(fleet: Fleet, first: Flight, now: float) -> tuple[WorkerView, ...]:
    """Return the workers that may take a second attempt: others of the same pool and version."""
    where = fleet.view(first.worker)
    return tuple(
        worker
        for worker in fleet.open(now)
        if worker.id != where.id and (worker.role, worker.version) == (where.role, where.version)
    )


def _doubled(first: Flight, worker: str, flights: Flights, fleet: Fleet, now: float) -> Dispatch:
    first.hedged = True
    second = replace(
        first,
        worker=worker,
        attempt=first.attempt + 1,
        since=now,
        began=False,
        predicted_s=0.0,
        resident=0.0,
    )
    flights.seconds[first.job.id] = second
    fleet.take(second)
    return Dispatch(
        first.job.id, first.job.tenant, first.entry, worker, second.attempt, second.estimate,
        hedge=True, arm=first.arm,
    )  # fmt: skip
