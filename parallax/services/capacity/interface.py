"""The port through which an autoscaler starts workers and lets them go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from parallax.core.errors import ParallaxError


class CapacityFault(ParallaxError):
    """The owner of the machines refused a request or cannot be reached."""


class Capacity(Protocol):
    """Workers on some machines. Every method may raise CapacityFault; none waits for long."""

    name: str

    def size(self) -> int:
        """Return how many workers are to be there: who starts is counted, who leaves is not."""

    def owns(self, worker: str) -> bool:
        """Whether this worker is one of them: others are never drained."""

    def stays(self, worker: str) -> bool:
        """Whether it was not asked to leave, as far as is known here."""

    def start(self, count: int) -> None:
        """Start so many more."""

    def drain(self, workers: Sequence[str]) -> None:
        """Let these go: no new work, an end to what they have. Where it cannot choose, as many."""

    def tend(self) -> None:
        """Look after them: called several times a second."""

    def close(self) -> None:
        """Leave them as they are, or end those that cannot do without us."""
