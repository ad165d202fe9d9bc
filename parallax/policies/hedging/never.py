"""No hedging: one attempt at a time."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView
from parallax.policies.registry import HEDGING


@HEDGING.register("never")
@dataclass(slots=True)
class NeverHedge:
    """Start no second attempts. Cost: none. The default: a hedge that is not needed is load."""

    def arm(self, job: JobView, predicted_s: float) -> float | None:
        """See `interfaces.HedgingPolicy`."""
        return None

    def allow(self, saturation: float) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return False

    def cancels_at_start(self) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return False

    def observe(self, predicted_s: float, measured_s: float) -> None:
        """See `interfaces.HedgingPolicy`."""
