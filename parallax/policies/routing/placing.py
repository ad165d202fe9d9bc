"""The tally of a batch: what each worker has after the placements made so far.

A routing policy sees the cluster once per batch. Without counting its own placements it would send
the whole batch to the worker that was least loaded at the start: herding.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import ClusterView


@dataclass(slots=True)
class Tally:
    """Workers by index: ids, room left, and cost pending, which grows with each placement."""

    ids: list[str]
    free: list[int]
    pending: list[float]
    slowness: list[float]
    open: list[int]  # indices of workers with room

    @classmethod
    def of(cls, cluster: ClusterView, by_requests: bool = False) -> Tally:
        """Start with the cluster's report; pending work is counted as cost, or as requests."""
        workers = cluster.workers
        return cls(
            [w.id for w in workers],
            [w.free for w in workers],
            [float(w.in_flight) if by_requests else w.pending_cost for w in workers],
            [1.0 if by_requests else w.slowness for w in workers],
            [i for i, w in enumerate(workers) if w.free > 0],
        )

    def place(self, index: int, cost: float) -> str:
        """Count a job of that cost on a worker and return the worker's id."""
        self.pending[index] += cost
        self.free[index] -= 1
        if self.free[index] == 0:
            self.open.remove(index)
        return self.ids[index]
