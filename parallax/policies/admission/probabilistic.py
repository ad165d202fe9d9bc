"""Probabilistic admission: drops jobs of low priority, more likely the fuller the fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from parallax.core.model import JobView, QueueView, Rejection, check_int, check_number
from parallax.core.reasons import Reason
from parallax.policies.registry import ADMISSION


@ADMISSION.register("probabilistic")
@dataclass(slots=True)
class Probabilistic:
    """Refuse jobs of low priority with probability `min(scale * saturation**power, 1)`.

    Saturation is the larger of jobs waiting per worker over `queue_full`, and KV memory in use over
    `kv_full`; memory counts only for tenants that hold an equal part of it or more. With the
    defaults nothing is dropped at 0.1, a tenth at 0.2 and everything at 0.32: bulk work makes room
    early, what matters is never refused here.

    Source: the probabilistic admitter of llm-d (300, 5; queue 5, memory 0.8; priority below 0).
    Cost: O(1). Use it beside another policy where part of the load can come back later.
    """

    scale: float = 300.0
    power: float = 5.0
    queue_full: float = 5.0  # jobs waiting per worker
    kv_full: float = 0.8  # share of KV memory, 0..1
    below: int = 0  # jobs of a lower priority may be dropped
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("probabilistic.scale", self.scale, 0.0, 1e9)
        check_number("probabilistic.power", self.power, 0.0, 100.0)
        check_number("probabilistic.queue_full", self.queue_full, 1e-3, 1e9)
        check_number("probabilistic.kv_full", self.kv_full, 1e-3, 1.0)
        check_int("probabilistic.below", self.below, 0, 101)

    def seed(self, random: Random) -> None:
        """Use this source for the draws."""
        self._random = random

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        if job.priority >= self.below:
            return None
        waiting = queue.total_jobs / max(1, queue.workers)
        memory = queue.kv_used / self.kv_full if queue.presses else 0.0
        saturation = max(waiting / self.queue_full, memory)
        if self._random.random() < min(1.0, self.scale * saturation**self.power):
            return Rejection(Reason.SATURATED, 5.0)
        return None
