"""Shortest job first, by predicted cost, with ageing."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, check_number
from parallax.policies.ordering.hopeless import too_late
from parallax.policies.registry import ORDERING


@ORDERING.register("sjf")
@dataclass(slots=True)
class Sjf:
    """Serve the smallest `arrival + ageing_s * cost / 1000`.

    A job is worth waiting `ageing_s` seconds for every 1,000 cost units by which another is
    smaller, so it is never overtaken by one that arrives later than `arrival + ageing_s * (cost -
    smallest cost) / 1000`: nobody starves. The key never changes, so a heap is enough. `ageing_s`
    = 0 is `fcfs`; a very large one is pure SJF. Each step of priority is worth `priority_s`
    seconds.

    Source: Phipps 1956 (SJF); the static key is SJF with linear ageing.
    Cost: O(1). Use it inside a tenant's queue when sizes vary; order only acts on what is queued.
    """

    ageing_s: float = 10.0  # seconds of waiting per 1,000 cost units
    priority_s: float = 60.0  # seconds of head start per step of priority
    drop_hopeless: bool = True  # expire jobs that cannot meet their deadline any more

    def __post_init__(self) -> None:
        check_number("sjf.ageing_s", self.ageing_s, 0.0, 1e6)
        check_number("sjf.priority_s", self.priority_s, 0.0, 1e6)

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        """See `interfaces.OrderingPolicy`."""
        return job.arrival + self.ageing_s * estimate / 1000 - self.priority_s * job.priority

    def hopeless(self, job: JobView, service_s: float, now: float) -> bool:
        """See `interfaces.OrderingPolicy`."""
        return self.drop_hopeless and too_late(job, service_s, now)
