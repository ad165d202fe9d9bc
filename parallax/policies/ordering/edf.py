"""Earliest deadline first."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from parallax.core.model import JobView, check_number
from parallax.policies.ordering.hopeless import too_late
from parallax.policies.registry import ORDERING

#: Later than any deadline (seconds since the epoch: 3,000 years), yet small enough for a float to
#: tell arrivals behind it apart to some ten microseconds.
_NEVER = 1e11


def due(job: JobView) -> float:
    """Return the deadline; a job without one is due after all that have one, by arrival."""
    return job.deadline if job.deadline != inf else _NEVER + job.arrival


@ORDERING.register("edf")
@dataclass(slots=True)
class Edf:
    """Serve the job with the earliest deadline; those without one come last, by arrival.

    If any order meets all deadlines on one server that may be interrupted, this one does. Above
    capacity it breaks down unless `drop_hopeless` holds: it always serves the job that is most
    nearly late, so soon everything it serves is late. Each step of priority moves a deadline
    `priority_s` seconds forward, in the order only: the deadline itself stays.

    Source: Liu & Layland 1973; the collapse under overload: Locke 1986.
    Cost: O(1). Use it where tenants give deadlines that differ. Not where few jobs have one: the
    rest wait for as long as there are any with.
    """

    priority_s: float = 60.0  # seconds of head start per step of priority
    drop_hopeless: bool = True  # expire jobs that cannot meet their deadline any more

    def __post_init__(self) -> None:
        check_number("edf.priority_s", self.priority_s, 0.0, 1e6)

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        """See `interfaces.OrderingPolicy`."""
        return due(job) - self.priority_s * job.priority

    def hopeless(self, job: JobView, service_s: float, now: float) -> bool:
        """See `interfaces.OrderingPolicy`."""
        return self.drop_hopeless and too_late(job, service_s, now)
