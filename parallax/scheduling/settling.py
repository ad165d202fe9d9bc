"""What an attempt is charged in the end: what it consumed, said by whoever knows, and once.

An attempt is charged its estimate when it is sent out. It stays in the books until whoever took it
away tells of it: its worker what it consumed, the store that it never began, or that its worker is
gone and nobody knows. Then the estimate stands. That its job has arrived again or has ended, or
that its worker is lost, only means that it decides nothing any more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from parallax.core.cost import TokenCost
from parallax.core.model import Usage
from parallax.scheduling.events import AttemptEnded
from parallax.scheduling.fleet import Fleet, Flight
from parallax.scheduling.flights import Flights
from parallax.scheduling.line import Line
from parallax.scheduling.queues import Queued

#: What is told of a lost worker's attempts is waited for so long (seconds).
LOST_S = 30.0


@dataclass(slots=True)
class Settling:
    """See the module's docstring."""

    line: Line
    fleet: Fleet
    flights: Flights
    cost: TokenCost
    _lost: deque[tuple[float, list[Flight]]] = field(default_factory=deque)

    def consumed(self, usage: Usage) -> float:
        """Return what was computed, in cost units: what came from a cache was not."""
        uncached = max(0, usage.prompt_tokens - usage.cached_tokens)
        return self.cost(uncached, usage.output_tokens)

    def prompt(self, tokens: int, cached: int) -> float:
        """Return what a computed prompt has cost, the first token of the answer included."""
        return self.cost(max(0, tokens - cached), 1)

    def land(self, flight: Flight, usage: Usage | None) -> float:
        """An attempt is over: free its slot and settle its account; return what it cost."""
        consumed = flight.estimate if usage is None else self.consumed(usage)
        consumed = max(consumed, flight.spent)
        self._drop(flight, consumed)
        return consumed

    def void(self, flight: Flight) -> None:
        """An attempt was never sent: it cost no more than was spent before it."""
        self._drop(flight, flight.spent)

    def _drop(self, flight: Flight, consumed: float) -> None:
        self.flights.remove(flight)
        self.fleet.release(flight)
        self.line.settle(flight.job.tenant, flight.estimate, consumed, flight.weight)

    def back(self, queued: Queued) -> None:
        """What was charged for a job that goes on to no worker costs what was spent on it."""
        self.line.settle(queued.job.tenant, queued.estimate, queued.spent, queued.weight)

    def unbooked(self, event: AttemptEnded) -> None:
        """An attempt is over that an earlier leader had charged."""
        if event.usage is not None:
            self.line.settle(event.tenant, event.estimate, self.consumed(event.usage))

    def lost(self, worker: str, now: float) -> None:
        """A worker is gone: its attempts decide nothing any more. O(attempts)."""
        gone = self.flights.of_worker(worker)
        for flight in gone:
            self.flights.stop(flight)
            flight.predicted_s = 0.0  # how long it flew says nothing of how long jobs take
        if gone:
            self._lost.append((now + LOST_S, gone))

    def overdue(self, now: float) -> None:
        """Let the estimate stand of what nobody has told of since its worker was lost."""
        while self._lost and self._lost[0][0] <= now:
            for flight in self._lost.popleft()[1]:
                if self.flights.find(flight.job.id, flight.worker, flight.attempt) is flight:
                    self.land(flight, None)
