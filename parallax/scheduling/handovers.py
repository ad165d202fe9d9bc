"""Jobs whose prompt was computed by one worker and whose answer another is to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.queues import Queued
from parallax.scheduling.room import Room


@dataclass(slots=True)
class Handovers:
    """They were charged when their prompt was sent out, and go before all that is queued.

    While one of them waits no new prompt is sent out, so they are never more than were in attempt.
    """

    waiting: dict[str, Queued] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, attempt: InFlight, spent: float, now: float) -> None:
        """The worker of this attempt holds the KV cache of the whole prompt, which cost so much."""
        job = replace(attempt.job, attempt=attempt.attempt, prefilled_by=attempt.worker)
        self._wait(replace(attempt, job=job, spent=spent), now)

    def again(self, attempt: InFlight, now: float) -> None:
        """The store did not send this one on: its prompt is still where it was computed."""
        self._wait(attempt, now)

    def _wait(self, attempt: InFlight, now: float) -> None:
        self.waiting[attempt.job.id] = Queued(
            attempt.job, attempt.entry, attempt.estimate, attempt.output, now, attempt.weight,
            attempt.spent,
        )  # fmt: skip

    def first(self, room: Room) -> Sequence[Queued]:
        """Return those that there is room for, in the order in which they came."""
        chosen: list[Queued] = []
        for queued in self.waiting.values():
            if not room:
                break
            if room.fits(queued.job.model):
                room.take(queued.job.model)
                chosen.append(queued)
        return chosen

    def take(self, job_id: str) -> Queued | None:
        """Remove one."""
        return self.waiting.pop(job_id, None)

    def lost(self, worker: str) -> list[Queued]:
        """Remove those whose KV cache was on this worker; `restarted` is how they go on."""
        gone = [q for q in self.waiting.values() if q.job.prefilled_by == worker]
        for queued in gone:
            del self.waiting[queued.job.id]
        return gone


def restarted(queued: Queued) -> Queued:
    """Return a job as it starts from the beginning."""
    return replace(queued, job=replace(queued.job, prefilled_by=""), spent=0.0)
