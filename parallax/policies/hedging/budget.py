"""Limits hedges to a share of the first attempts, and to none while the fleet is full."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """Every first attempt pays in `share`; a hedge takes 1; at most `cap` is saved.

    So on every prefix of history: hedges <= share * first attempts + cap. There is no floor per
    second: a floor is what keeps a retry storm alive (metastability, HotOS'21).
    """

    share: float
    cap: float
    saturation: float  # from here on no hedges are started
    saved: float = 0.0

    def deposit(self) -> None:
        """A first attempt was sent out."""
        self.saved = min(self.cap, self.saved + self.share)

    def spend(self, saturation: float) -> bool:
        """Take 1 if there is as much, and the fleet has room."""
        if saturation >= self.saturation or self.saved < 1.0:
            return False
        self.saved -= 1.0
        return True
