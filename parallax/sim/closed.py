"""Closed loops: nobody asks again before the answer is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import isnan

from parallax.core.model import Job
from parallax.sim.outcome import JobOutcome
from parallax.sim.timed import Timed

Key = tuple[str, str]


class ClosedLoop:
    """A load of sessions whose turns wait for each other.

    The gap between two turns of a session, as the load has it, is how long its user thinks after
    the answer, or after it was refused. First turns come when they come. What an overloaded system
    is asked is bounded by the sessions that are open: that is kinder than most traffic is.
    Source: Schroeder, Wierman & Harchol-Balter, Open Versus Closed (NSDI'06). Memory: O(jobs).
    """

    def __init__(self, jobs: Iterable[Timed]) -> None:
        self.first: list[Timed] = []
        self._later: dict[Key, deque[tuple[float, Job]]] = {}
        last: dict[Key, float] = {}
        for at_s, job in jobs:
            key = (job.tenant, job.session)
            if job.session and key in last:
                self._later.setdefault(key, deque()).append((at_s - last[key], job))
            else:
                self.first.append((at_s, job))
            last[key] = at_s

    def follow(self, outcome: JobOutcome) -> Iterable[Timed]:
        """Return the next turn of the session whose turn has ended."""
        later = self._later.get((outcome.tenant, outcome.session))
        if not outcome.session or not later:
            return ()
        think_s, job = later.popleft()
        ended_s = outcome.arrival_s if isnan(outcome.finished_s) else outcome.finished_s
        return ((ended_s + think_s, job),)
