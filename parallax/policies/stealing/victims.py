"""From whom may be taken, and how much they have that has not begun."""

from __future__ import annotations

from collections.abc import Sequence

from parallax.core.model import WorkerView


def undelivered(worker: WorkerView) -> int:
    """Return how many jobs wait there behind those that run."""
    return max(0, worker.in_flight - worker.slots)


def victims(thief: WorkerView, siblings: Sequence[WorkerView], threshold: int) -> list[WorkerView]:
    """Return the siblings of the same pool and version with at least so many jobs to take."""
    return [
        sibling
        for sibling in siblings
        if (sibling.role, sibling.version) == (thief.role, thief.version)
        and undelivered(sibling) >= threshold
    ]


def longest(workers: Sequence[WorkerView]) -> tuple[str, int] | None:
    """Return the one with most to take and half of it, rounded up; None if there is nobody."""
    best = max(workers, key=lambda worker: (undelivered(worker), worker.id), default=None)
    return None if best is None else (best.id, -(-undelivered(best) // 2))
