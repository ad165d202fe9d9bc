"""One number held against a measurement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A prediction, what somebody else measured, and how far apart they may be (0.2 = 20 %)."""

    case: str
    what: str
    predicted: float
    measured: float
    tolerance: float

    @property
    def error(self) -> float:
        """The relative error, signed."""
        return self.predicted / self.measured - 1.0

    @property
    def holds(self) -> bool:
        """Whether it is close enough."""
        return abs(self.error) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Order:
    """An order of policies that was measured; `names` run from best to worst."""

    case: str
    names: tuple[str, ...]
    predicted: tuple[float, ...]
    ties: float = 0.0  # a later one may be better by that share where they were measured as equal

    @property
    def holds(self) -> bool:
        """Whether the prediction has the same order."""
        pairs = zip(self.predicted, self.predicted[1:], strict=False)
        return all(one >= other * (1.0 - self.ties) for one, other in pairs)
