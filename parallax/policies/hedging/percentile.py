"""Hedging after the 95th percentile: a job that is late for its size gets a hedge."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parallax.core.model import JobView, check_int, check_number
from parallax.policies.hedging.budget import Budget
from parallax.policies.registry import HEDGING

#: The quantile is computed afresh after so many observations.
REFRESH = 32


@HEDGING.register("percentile")
@dataclass(slots=True)
class PercentileHedge:
    """Start a second attempt when the first takes longer than `quantile` of them take for its size.

    Durations are divided by their predictions, so that a long job is not taken for a slow one; the
    quantile is that of the last `window` attempts, those that were cancelled included (they took at
    least as long: without them the winners alone would shorten the timer until everything is
    hedged). At most `budget` hedges per first attempt, none from `saturation` on. The slower
    attempt is cancelled at the end of the other.

    Source: Dean & Barroso, The Tail at Scale (CACM 2013); budget and censored samples as in
    Finagle's BackupRequestFilter. Cost: O(1) amortised. Use it where a few workers or executions
    are slow for no reason that the scheduler can see; below the fleet's limits.
    """

    quantile: float = 0.95
    budget: float = 0.05  # second attempts per first attempt
    cap: float = 5.0  # that can be saved up
    saturation: float = 1.0  # share of the fleet's slots in use
    min_samples: int = 200
    window: int = 2_000  # attempts that the quantile is over
    min_delay_s: float = 0.01
    _budget: Budget = field(init=False, repr=False)
    _ratios: deque[float] = field(init=False, repr=False)
    _seen: int = field(default=0, init=False, repr=False)
    _late: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("percentile.quantile", self.quantile, 0.5, 1.0)
        check_number("percentile.budget", self.budget, 0.0, 1.0)
        check_number("percentile.cap", self.cap, 1.0, 1e6)
        check_number("percentile.saturation", self.saturation, 0.0, 1e3)
        check_int("percentile.min_samples", self.min_samples, 1, 10**6)
        check_int("percentile.window", self.window, 10, 10**6)
        check_number("percentile.min_delay_s", self.min_delay_s, 0.0, 3_600.0)
        self._budget = Budget(self.budget, self.cap, self.saturation)
        self._ratios = deque(maxlen=self.window)

    def arm(self, job: JobView, predicted_s: float) -> float | None:
        """See `interfaces.HedgingPolicy`."""
        self._budget.deposit()
        if self._seen < self.min_samples or predicted_s <= 0:
            return None
        return max(self.min_delay_s, self._late * predicted_s)

    def allow(self, saturation: float) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return self._budget.spend(saturation)

    def cancels_at_start(self) -> bool:
        """See `interfaces.HedgingPolicy`."""
        return False

    def observe(self, predicted_s: float, measured_s: float) -> None:
        """See `interfaces.HedgingPolicy`."""
        self._ratios.append(measured_s / predicted_s)
        self._seen += 1
        if self._seen == self.min_samples or self._seen % REFRESH == 0:
            self._refresh()

    def remember(self) -> dict[str, Any]:
        """See `interfaces.Remembering`."""
        return {"seen": self._seen, "ratios": [round(ratio, 4) for ratio in self._ratios]}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """See `interfaces.Remembering`."""
        self._seen = int(memory["seen"])
        self._ratios.extend(float(ratio) for ratio in memory["ratios"])
        if self._ratios:
            self._refresh()

    def _refresh(self) -> None:
        ordered = sorted(self._ratios)
        self._late = ordered[min(len(ordered) - 1, int(self.quantile * len(ordered)))]
