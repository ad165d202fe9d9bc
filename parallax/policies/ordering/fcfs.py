"""First come, first served."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, check_number
from parallax.policies.ordering.hopeless import too_late
from parallax.policies.registry import ORDERING


@ORDERING.register("fcfs")
@dataclass(slots=True)
class Fcfs:
    """Serve in the order of arrival; a step of priority is worth `priority_s` seconds of waiting.

    Cost: O(1). Use it when jobs are of similar size, or when order itself is a promise.
    """

    priority_s: float = 60.0  # seconds of head start per step of priority
    drop_hopeless: bool = True  # expire jobs that cannot meet their deadline any more

    def __post_init__(self) -> None:
        check_number("fcfs.priority_s", self.priority_s, 0.0, 1e6)

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        """See `interfaces.OrderingPolicy`."""
        return job.arrival - self.priority_s * job.priority

    def hopeless(self, job: JobView, service_s: float, now: float) -> bool:
        """See `interfaces.OrderingPolicy`."""
        return self.drop_hopeless and too_late(job, service_s, now)
