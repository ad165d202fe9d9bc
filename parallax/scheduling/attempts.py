"""Attempts in flight, and what their tenants are charged for them: the only books of both.

    track --> first ----------------------+--> release: what it consumed is settled
    hedge --> hedge, beside the first ----+--> void: it was never sent
                 |                        +--> leave: its job goes on elsewhere, and stays charged
                 +------> stopping -------+

An attempt is charged its estimate when it is sent out. It stays in the books until its end is
reported: by its worker with the consumption, or by the store if it never began or its worker is
gone; then the estimate stands. An attempt whose job has arrived again or has ended, or whose
worker is lost, decides nothing any more: it is *stopping*.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from parallax.core.cost import TokenCost
from parallax.core.model import Usage
from parallax.scheduling.events import AttemptEnded
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.in_flight import FIRST, HEDGE, STOPPING, InFlight
from parallax.scheduling.line import Line

#: How long to wait for reports on a lost worker's attempts (seconds).
LOST_S = 30.0

_Key = tuple[str, str, int]


class Attempts:
    """See the module's docstring. Every method is O(1), or O(attempts it returns or ends)."""

    def __init__(self, line: Line, fleet: Fleet, cost: TokenCost) -> None:
        self._line, self._fleet, self._cost = line, fleet, cost
        self._first: dict[str, InFlight] = {}  # by job
        self._hedges: dict[str, InFlight] = {}  # by job
        self._stopping: dict[_Key, InFlight] = {}
        self._by_worker: dict[str, set[InFlight]] = {}
        self._lost: deque[tuple[float, list[InFlight]]] = deque()
        self._serial = 0
        self.hashes = 0  # of the prefixes of all their jobs

    def __len__(self) -> int:
        return len(self._first) + len(self._hedges) + len(self._stopping)

    def __contains__(self, job_id: str) -> bool:
        """Whether an attempt is in flight that may decide this job."""
        return job_id in self._first

    # -- attempts in flight ----------------------------------------------------------------------

    def first(self, job_id: str) -> InFlight | None:
        """Return the first of the attempts that may decide this job."""
        return self._first.get(job_id)

    def hedge(self, job_id: str) -> InFlight | None:
        """Return the attempt beside the first."""
        return self._hedges.get(job_id)

    def find(self, job_id: str, worker: str, attempt: int) -> InFlight | None:
        """Return the attempt of that number on that worker, if it is in flight."""
        found = self._first.get(job_id)
        if found is not None and found.attempt == attempt and found.worker == worker:
            return found
        found = self._hedges.get(job_id)
        if found is not None and found.attempt == attempt and found.worker == worker:
            return found
        return self._stopping.get((job_id, worker, attempt))

    def other(self, attempt: InFlight) -> InFlight | None:
        """Return the attempt that may decide the same job beside this one, if there is one."""
        if attempt.standing == FIRST:
            return self._hedges.get(attempt.job.id)
        return self._first.get(attempt.job.id) if attempt.standing == HEDGE else None

    def of_job(self, job_id: str) -> list[InFlight]:
        """Return the attempts that may decide this job."""
        found = (self._first.get(job_id), self._hedges.get(job_id))
        return [attempt for attempt in found if attempt is not None]

    def of_worker(self, worker: str) -> list[InFlight]:
        """Return all attempts on a worker: first ones, hedges, stopping ones."""
        return sorted(self._by_worker.get(worker, ()), key=_rank)

    # -- they come, change and go ----------------------------------------------------------------

    def track(self, attempt: InFlight) -> None:
        """An attempt was sent, or found; a second one of its job is the hedge beside the first."""
        self._enter(attempt, HEDGE if attempt.job.id in self._first else FIRST)
        held = self._by_worker.get(attempt.worker)
        if held is None:
            self._by_worker[attempt.worker] = {attempt}
        else:
            held.add(attempt)
        self.hashes += len(attempt.job.prefix)
        self._fleet.take(attempt)

    def stop(self, attempt: InFlight) -> None:
        """It cannot decide its job any more; what it burns is still counted until its end."""
        self._quit(attempt)
        self._enter(attempt, STOPPING)

    def stop_all(self, job_id: str) -> None:
        """No attempt of this job decides it any more."""
        if job_id in self._first:
            for attempt in self.of_job(job_id):
                self.stop(attempt)

    def move(self, job_id: str, thief: str) -> None:
        """Another worker stole the first attempt of this job."""
        attempt = self._first.get(job_id)
        if attempt is not None:
            self._fleet.release(attempt)
            self._leave_worker(attempt)
            attempt.worker, attempt.first_token = thief, False
            self._by_worker.setdefault(thief, set()).add(attempt)
            self._fleet.take(attempt)

    def leave(self, attempt: InFlight) -> None:
        """End an attempt whose job goes on elsewhere: its charge stays."""
        self._quit(attempt)
        self._leave_worker(attempt)
        self.hashes -= len(attempt.job.prefix)
        self._fleet.release(attempt)

    def release(self, attempt: InFlight, usage: Usage | None) -> float:
        """It is over: settle its account; return what it cost. Without usage: its estimate."""
        consumed = attempt.estimate if usage is None else self.consumed(usage)
        consumed = max(consumed, attempt.spent)
        self._end(attempt, consumed)
        return consumed

    def void(self, attempt: InFlight) -> None:
        """It was never sent: it cost no more than was spent before it."""
        self._end(attempt, attempt.spent)

    def _end(self, attempt: InFlight, consumed: float) -> None:
        self.leave(attempt)
        self._line.settle(attempt.job.tenant, attempt.estimate, consumed, attempt.weight)

    def release_unheld(self, worker: str, held: frozenset[tuple[str, int]], since: float) -> None:
        """Release attempts that were sent to a worker before `since` and that it does not hold."""
        for attempt in self.of_worker(worker):
            if attempt.since < since and (attempt.job.id, attempt.attempt) not in held:
                self.release(attempt, None)

    # -- what they cost ---------------------------------------------------------------------------

    def consumed(self, usage: Usage) -> float:
        """Return the computed cost, in cost units, without cached tokens."""
        uncached = max(0, usage.prompt_tokens - usage.cached_tokens)
        return self._cost(uncached, usage.output_tokens)

    def prompt_cost(self, tokens: int, cached: int) -> float:
        """Return what a computed prompt has cost, the first token of the answer included."""
        return self._cost(max(0, tokens - cached), 1)

    def settle_untracked(self, event: AttemptEnded) -> None:
        """An attempt is over that an earlier leader had charged."""
        if event.usage is not None:
            self._line.settle(event.tenant, event.estimate, self.consumed(event.usage))

    # -- workers come and go -----------------------------------------------------------------------

    def worker_joined(self, worker: str) -> None:
        """Begin to know a worker: count the attempts that were found there before."""
        for attempt in self.of_worker(worker):
            self._fleet.take(attempt)

    def worker_lost(self, worker: str, now: float) -> None:
        """A worker is gone: its attempts decide nothing any more."""
        gone = self.of_worker(worker)
        for attempt in gone:
            self.stop(attempt)
            attempt.predicted_s = 0.0  # how long it flew says nothing of how long jobs take
        if gone:
            self._lost.append((now + LOST_S, gone))

    def release_overdue(self, now: float) -> None:
        """Let the estimate stand of attempts without a report since their worker was lost."""
        while self._lost and self._lost[0][0] <= now:
            self._release_left(self._lost.popleft()[1])

    def _release_left(self, gone: Iterable[InFlight]) -> None:
        for attempt in gone:
            if self.find(attempt.job.id, attempt.worker, attempt.attempt) is attempt:
                self.release(attempt, None)

    # -- the books ---------------------------------------------------------------------------------

    def _enter(self, attempt: InFlight, standing: int) -> None:
        self._serial += 1
        attempt.standing, attempt.place = standing, self._serial
        if standing == FIRST:
            self._first[attempt.job.id] = attempt
        elif standing == HEDGE:
            self._hedges[attempt.job.id] = attempt
        else:
            self._stopping[attempt.job.id, attempt.worker, attempt.attempt] = attempt

    def _quit(self, attempt: InFlight) -> None:
        """Take it from where it stands; a hedge that is left becomes the first."""
        name = attempt.job.id
        if attempt.standing == FIRST:
            del self._first[name]
            hedge = self._hedges.pop(name, None)
            if hedge is not None:
                self._enter(hedge, FIRST)
        elif attempt.standing == HEDGE:
            del self._hedges[name]
        else:
            self._stopping.pop((name, attempt.worker, attempt.attempt), None)

    def _leave_worker(self, attempt: InFlight) -> None:
        held = self._by_worker[attempt.worker]
        held.discard(attempt)
        if not held:
            del self._by_worker[attempt.worker]


def _rank(attempt: InFlight) -> tuple[int, int]:
    return attempt.standing, attempt.place
