"""Collects a simulated run's results: ends of jobs, samples, counts, busy times."""

from __future__ import annotations

from collections.abc import Callable, Collection

from parallax.scheduling.scheduler import Scheduler
from parallax.sim.outcome import JobOutcome, Sample
from parallax.sim.workers import SimWorker

_COUNTED = ("dispatches", "hedges", "cancels", "steals", "handovers", "retries", "preemptions")


class Books:
    """The record of one run."""

    def __init__(
        self, sample_every_s: float, keep: Callable[[JobOutcome], None] | None = None
    ) -> None:
        self.outcomes: dict[str, JobOutcome] = {}
        self._keep = keep
        self._lingering: list[JobOutcome] = []  # that have ended, while an attempt goes on
        self._linger = 64  # so many are looked at again
        self.samples: list[Sample] = []
        self.notes: list[str] = []
        self.counters: dict[str, float] = dict.fromkeys(_COUNTED, 0)
        self.busy_ms: dict[str, float] = {}  # of workers that have left
        self.sample_at_ms = 0.0  # when the next sample is due
        self._every_ms = sample_every_s * 1000

    def ended(self, outcome: JobOutcome, workers: Collection[SimWorker]) -> None:
        """Give away the outcome of a job that has ended, once no attempt can add to it.

        Nothing is given away where nobody was named who keeps it.
        """
        if self._keep is None:
            return
        if outcome.attempts <= 1:  # that one is over
            self._give(outcome)
            return
        self._lingering.append(outcome)
        if len(self._lingering) >= self._linger:
            going = {job_id for worker in workers for job_id in worker.attempts}
            waiting, self._lingering = self._lingering, []
            for late in waiting:
                if late.id in going:
                    self._lingering.append(late)
                else:
                    self._give(late)
            self._linger = 2 * len(self._lingering) + 64

    def _give(self, outcome: JobOutcome) -> None:
        if self._keep is not None and self.outcomes.pop(outcome.id, None) is not None:
            self._keep(outcome)

    def give_rest(self) -> None:
        """Hand over the rest when the run is over."""
        if self._keep is not None:
            for outcome in list(self.outcomes.values()):
                self._give(outcome)

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
