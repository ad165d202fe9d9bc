"""No stealing: a job that was sent to a worker is done there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.model import WorkerView
from parallax.policies.registry import STEALING


@STEALING.register("never")
@dataclass(slots=True)
class NeverSteal:
    """Take nothing. Cost: none. The default: with short queues little is misplaced."""

    def choose(
        self, thief: WorkerView, siblings: Sequence[WorkerView], now: float
    ) -> tuple[str, int] | None:
        """See `interfaces.StealingPolicy`."""
        return None

    def worth(self, wait_s: float, cached_there: int, cached_here: int) -> bool:
        """See `interfaces.StealingPolicy`."""
        return False
