"""Tied requests: two attempts from the start, of which the first to begin cancels the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import JobView, check_number
from parallax.policies.hedging.budget import Budget
from parallax.policies.registry import HEDGING


@HEDGING.register("tied")
@dataclass(slots=True)
class TiedHedge:
    """Send a second attempt after `delay_s`; the first token of either cancels the other.

    It finds the shorter of two queues by standing in both. Both may begin at nearly the same time,
    and what the loser computes until it hears of it is lost: with a cancellation that takes half a
    service it does more harm than good.

    Source: Dean & Barroso, The Tail at Scale (CACM 2013). Cost: O(1). Use it where queues at the
    workers are long and cannot be seen; with a bounded queue at each worker there is little to win.
    """

    delay_s: float = 0.002
    budget: float = 0.1  # second attempts per first attempt
    cap: float = 5.0  # that can be saved up
    saturation: float = 0.8  # share of the fleet's slots in use
    _budget: Budget = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("tied.delay_s", self.delay_s, 0.0, 3_600.0)
        check_number("tied.budget", self.budget, 0.0, 1.0)
        check_number("tied.cap", self.cap, 1.0, 1e6)
        check_number("tied.saturation", self.saturation, 0.0, 1e3)
        self._budget = Budget(self.budget, self.cap, self.saturation)

    def arm(self, job: JobView, predicted_s: float) -> float | None:
        """See `interfaces.HedgingPolicy`."""
        self._budget.deposit()
        return self.delay_s

    def allow(self, saturation: float) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return self._budget.spend(saturation)

    def cancels_at_start(self) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return True

    def observe(self, predicted_s: float, measured_s: float) -> None:
        """See `interfaces.HedgingPolicy`."""
