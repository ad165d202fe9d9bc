"""Parallel prefix: a whole batch placed at once, by prefix sums."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from parallax.core.model import ClusterView, JobView, check_int
from parallax.policies.registry import ROUTING

Numbers = npt.NDArray[np.float64]


@ROUTING.register("parallel_prefix")
@dataclass(slots=True)
class ParallelPrefix:
    """Fill the workers like vessels to one level, and lay the batch end to end over the room.

    The level is where all would finish together if jobs could be cut: it follows from two prefix
    sums over the workers, sorted by when they would be done. Two more, of the room of the workers
    and of the costs of the jobs, put every job where its middle falls. No worker gets more than the
    largest job beside its room, so the last one is done at most one job later than could be. The
    order of the batch is kept on every worker.

    The batch is placed jointly: even if what is known of the workers is old, it does not all go to
    whoever was free then. Batches of fewer than `small` jobs are placed one after the other, each
    where it would be done first. A worker that has no place left passes its jobs on. Sessions that
    were placed before go back there first, as far as there is room; the others fill the rest.

    Source: midpoint prefix sums as in systematic resampling; the bound is that of Graham 1966 for
    lists. Cost: O(jobs * log workers) in numpy, some ten times less than a heap. Use it where jobs
    come in batches: ticks, refills after a stall.
    """

    small: int = 8
    sessions: int = 100_000  # homes that are remembered; 0 places every job afresh
    _homes: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_int("parallel_prefix.small", self.small, 1, 100_000)
        check_int("parallel_prefix.sessions", self.sessions, 0, 10**7)

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        workers = [worker for worker in cluster.workers if worker.free > 0]
        if not workers:
            return [None] * len(jobs)
        costs = np.asarray(estimates, dtype=np.float64)
        speed = np.array([1.0 / max(worker.slowness, 1e-9) for worker in workers])
        backlog = np.array([worker.pending_cost for worker in workers])
        free = np.array([worker.free for worker in workers])
        names = [worker.id for worker in workers]
        wishes = self._at_home(jobs, names, costs, rooms(float(costs.sum()), speed, backlog))
        if len(jobs) >= self.small:
            homeless = wishes < 0
            at_home = np.bincount(wishes[~homeless], costs[~homeless], len(names))
            wishes[homeless] = placed(costs[homeless], speed, backlog + at_home)
        fitted = _fitted(wishes, costs, speed, backlog, free)
        routes = [names[i] if i >= 0 else None for i in fitted]
        self._remember(jobs, routes)
        return routes

    def _at_home(
        self, jobs: Sequence[JobView], names: list[str], costs: Numbers, room: Numbers
    ) -> npt.NDArray[np.int64]:
        """Send jobs of known sessions home as far as there is room; -1 for all others."""
        wishes = np.full(len(jobs), -1, dtype=np.int64)
        if not self._homes:
            return wishes
        index = {name: i for i, name in enumerate(names)}
        for n, job in enumerate(jobs):
            i = index.get(self._homes.get(_session(job), ""), -1) if job.session else -1
            if i >= 0 and room[i] >= costs[n]:
                wishes[n] = i
                room[i] -= costs[n]
        return wishes

    def _remember(self, jobs: Sequence[JobView], routes: Sequence[str | None]) -> None:
        if not self.sessions:
            return
        for job, worker in zip(jobs, routes, strict=True):
            if job.session and worker is not None:
                self._homes[_session(job)] = worker
                self._homes.move_to_end(_session(job))
                if len(self._homes) > self.sessions:
                    self._homes.popitem(last=False)


def _session(job: JobView) -> str:
    return f"{job.tenant}/{job.session}"


def level_of(total: float, speed: Numbers, backlog: Numbers) -> float:
    """Return the time at which all would be done if so much more cost could be cut at will."""
    order = np.argsort(backlog / speed, kind="stable")
    done = (backlog / speed)[order]
    levels = (total + np.cumsum(backlog[order])) / np.cumsum(speed[order])
    # Only the first k workers are used if they stay below when the next one would be done.
    enough = np.nonzero(levels <= np.append(done[1:], np.inf))[0]
    return float(levels[enough[0]])


def rooms(total: float, speed: Numbers, backlog: Numbers) -> Numbers:
    """Return what each worker has to take to come up to that level; they add up to `total`."""
    level = level_of(total, speed, backlog)
    return np.maximum(0.0, level * speed - backlog)


def placed(costs: Numbers, speed: Numbers, backlog: Numbers) -> npt.NDArray[np.int64]:
    """Return the index of a worker for every job. O(jobs * log workers).

    Every worker's load is within the largest cost of its room.
    """
    order = np.argsort(backlog / speed, kind="stable")
    bounds = np.cumsum(rooms(float(costs.sum()), speed, backlog)[order])
    middles = np.cumsum(costs) - costs / 2
    # 'right' skips workers without any room; rounding must not run off the end.
    places = np.minimum(np.searchsorted(bounds, middles, side="right"), len(order) - 1)
    found: npt.NDArray[np.int64] = order[places].astype(np.int64)
    return found


def _fitted(
    wishes: npt.NDArray[np.int64], costs: Numbers, speed: Numbers, backlog: Numbers,
    free: npt.NDArray[np.int64],
) -> list[int]:  # fmt: skip
    """Keep to the places that there are: who finds none goes where it would be done first."""
    counts = np.bincount(wishes[wishes >= 0], minlength=len(free))
    if (wishes >= 0).all() and (counts <= free).all():
        return [int(i) for i in wishes]
    left, load, found = free.copy(), backlog.astype(np.float64), list[int]()
    for wish, cost in zip(wishes, costs, strict=True):
        best = int(wish)
        if best < 0 or left[best] <= 0:
            open_ = np.nonzero(left > 0)[0]
            if not len(open_):
                found.append(-1)
                continue
            best = int(open_[np.argmin((load[open_] + cost) / speed[open_])])
        left[best] -= 1
        load[best] += cost
        found.append(best)
    return found
