"""Continuous batching: waiting requests join at the next step."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import BatchView
from parallax.policies.registry import BATCHING


@BATCHING.register("continuous")
@dataclass(slots=True)
class Continuous:
    """Let all that wait join as soon as there are places.

    Source: iteration-level scheduling, Orca (OSDI'22); vLLM, SGLang. Cost: O(1). The default: an
    engine that generates token by token gains nothing by making anybody wait.
    """

    def take(self, view: BatchView) -> int:
        """See `interfaces.BatchingPolicy`."""
        return min(view.waiting, view.places)

    def wake_s(self, view: BatchView) -> float | None:
        """See `interfaces.BatchingPolicy`."""
        return None
