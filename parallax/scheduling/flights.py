"""Attempts in flight: one for each job, two while a hedge runs, and those told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from parallax.scheduling.fleet import Flight


@dataclass(slots=True)
class Flights:
    """Who flies for which job. Every method is O(1) but `of_worker`."""

    by_job: dict[str, Flight] = field(default_factory=dict)
    seconds: dict[str, Flight] = field(default_factory=dict)
    stopping: dict[tuple[str, int], Flight] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_job) + len(self.seconds) + len(self.stopping)

    def __iter__(self) -> Iterator[Flight]:
        return chain(self.by_job.values(), self.seconds.values(), self.stopping.values())

    def hashes(self) -> int:
        """Return how many hashes the prefixes of all jobs in flight have. O(attempts)."""
        return sum(len(flight.job.prefix) for flight in self)

    def find(self, job_id: str, worker: str, attempt: int) -> Flight | None:
        """Return the attempt of that number on that worker, if it flies."""
        for flight in (self.by_job.get(job_id), self.seconds.get(job_id)):
            if flight and flight.worker == worker and flight.attempt == attempt:
                return flight
        flight = self.stopping.get((job_id, attempt))
        return flight if flight and flight.worker == worker else None

    def rival(self, flight: Flight) -> Flight | None:
        """Return the other attempt of the same job, if there is one that may still decide it."""
        other = self.seconds.get(flight.job.id)
        return self.by_job.get(flight.job.id) if other is flight else other

    def remove(self, flight: Flight) -> None:
        """Forget an attempt; a second one that is left becomes the first."""
        name = flight.job.id
        if self.seconds.get(name) is flight:
            del self.seconds[name]
        elif self.by_job.get(name) is flight:
            del self.by_job[name]
            if name in self.seconds:
                self.by_job[name] = self.seconds.pop(name)
        else:
            self.stopping.pop((name, flight.attempt), None)

    def stop(self, flight: Flight) -> None:
        """It cannot decide its job any more; what it burns is still counted until its end."""
        self.remove(flight)
        self.stopping[flight.job.id, flight.attempt] = flight

    def of_job(self, job_id: str) -> list[Flight]:
        """Return the attempts that may decide this job."""
        return [f for f in (self.by_job.get(job_id), self.seconds.get(job_id)) if f is not None]

    def of_worker(self, worker: str) -> list[Flight]:
        """Return all attempts on a worker. O(attempts)."""
        return [flight for flight in self if flight.worker == worker]

    def unheld(self, worker: str, held: frozenset[tuple[str, int]], since: float) -> list[Flight]:
        """Return the attempts on a worker, sent before `since`, that are not among those held."""
        return [
            flight
            for flight in self.of_worker(worker)
            if flight.since < since and (flight.job.id, flight.attempt) not in held
        ]
