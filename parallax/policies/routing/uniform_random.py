"""Random: any worker that has room. What every other policy must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.placing import Tally


@ROUTING.register("random")
@dataclass(slots=True)
class UniformRandom:
    """Choose uniformly among the workers with room.

    Each worker is then an M/M/1 queue of its own: the baseline of theory, and what a load balancer
    without any state does. Cost: O(1). Use it as a control.
    """

    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def seed(self, random: Random) -> None:
        """Use this source for the draws."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        tally = Tally.of(cluster)
        return [
            tally.place(self._random.choice(tally.open), cost) if tally.open else None
            for cost in estimates
        ]
