"""An exponentially weighted mean that knows time and starts without a bias.

A plain EMA that begins at zero reads 20 % of the truth after one sample at a = 0.2; every worker
that just joined would look idle or fast. Dividing by the weight seen so far removes the bias
exactly: the mean of a constant is that constant from the first sample on (as in Adam, Kingma & Ba
2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite


@dataclass(slots=True)
class Ewma:
    """Mean of samples, older ones fading with time constant `tau_s` (seconds).

    `value` is None before the first sample. O(1) per sample.
    """

    tau_s: float = 10.0
    _sum: float = 0.0
    _weight: float = 0.0
    _at: float | None = None

    def update(self, sample: float, now: float, weight: float = 1.0) -> None:
        """Take a sample at time `now`. Samples of one weight at the same instant count alike."""
        if now == self._at:  # one of a batch: nothing has faded
            self._sum += sample * weight
            self._weight += weight
            return
        elapsed = max(0.0, now - self._at) if self._at is not None else 0.0
        kept = exp(-elapsed / self.tau_s)
        # Each sample keeps its weight and fades: several in one batch average, instead of the last
        # one replacing the others because no time passed between them.
        self._sum = self._sum * kept + sample * weight
        self._weight = self._weight * kept + weight
        self._at = now

    def remember(self) -> list[float | None]:
        """Return all there is to know, for `recall`."""
        return [self._sum, self._weight, self._at]

    def recall(self, memory: Sequence[float | None]) -> None:
        """Go on from what `remember` returned; raises ValueError or TypeError for junk."""
        total, weight, at = memory
        self._sum, self._weight = _finite(total), _finite(weight)
        self._at = None if at is None else _finite(at)

    def weight(self, now: float) -> float:
        """Return the weight of all samples as it has faded by `now`; 0 before the first."""
        if self._at is None:
            return 0.0
        return self._weight * exp(-max(0.0, now - self._at) / self.tau_s)

    @property
    def value(self) -> float | None:
        """The mean; None before the first sample."""
        return self._sum / self._weight if self._weight else None


def _finite(number: float | None) -> float:
    if number is None or not isfinite(number):
        raise ValueError("a finite number is needed")
    return float(number)
