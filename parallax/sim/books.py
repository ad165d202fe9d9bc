"""What a simulated run leaves behind: the end of every job, samples, counts, busy times."""

from __future__ import annotations

from collections.abc import Collection

from parallax.scheduling.scheduler import Scheduler
from parallax.sim.outcome import JobOutcome, Sample
from parallax.sim.workers import SimWorker

_COUNTED = ("dispatches", "hedges", "cancels", "steals", "handovers", "retries", "preemptions")


class Books:
    """The record of one run."""

    def __init__(self, sample_every_s: float) -> None:
        self.outcomes: dict[str, JobOutcome] = {}
        self.samples: list[Sample] = []
        self.notes: list[str] = []
        self.counters: dict[str, float] = dict.fromkeys(_COUNTED, 0)
        self.busy_ms: dict[str, float] = {}  # of workers that have left
        self.sample_at_ms = 0.0  # when the next sample is due
        self._every_ms = sample_every_s * 1000

    def note(self, now_ms: float, text: str) -> None:
        """Write down that something happened."""
        self.notes.append(f"{now_ms / 1000:g} s: {text}")

    def sample(self, now_ms: float, scheduler: Scheduler, workers: Collection[SimWorker]) -> None:
        """Take a sample of queues and workers, and say when the next one is due."""
        self.sample_at_ms = now_ms + self._every_ms
        used = sum((worker.engine.kv_used for worker in workers), 0.0) / max(1, len(workers))
        self.samples.append(
            Sample(now_ms / 1000, scheduler.queued, scheduler.in_flight, len(workers), used)
        )

    def retire(self, worker: SimWorker) -> None:
        """Keep the busy time and the preemptions of a worker that leaves."""
        busy = self.busy_ms.get(worker.id, 0.0)
        self.busy_ms[worker.id] = busy + worker.engine.busy_ms
        self.counters["preemptions"] += worker.engine.preemptions

    def busy_s(self, workers: Collection[SimWorker]) -> float:
        """Return how long all engines have worked so far; `workers` are those still here."""
        working = sum((worker.engine.busy_ms for worker in workers), 0.0)
        return (working + sum(self.busy_ms.values(), 0.0)) / 1000
