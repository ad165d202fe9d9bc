"""Power of two choices: the less loaded of two workers drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView, check_int
from parallax.policies.registry import ROUTING
from parallax.policies.routing.placing import Tally


@ROUTING.register("power_of_two")
@dataclass(slots=True)
class PowerOfTwo:
    """Draw `choices` distinct workers with room; take the one with the least load.

    Load is `slowness * (pending cost + this job's cost)`, as in `least_loaded`; a tie is a coin
    flip. Two choices shorten the longest queue from O(log n / log log n) to O(log log n); a third
    gains little and herds sooner when the knowledge of the workers is old.

    Source: Azar, Broder, Karlin & Upfal (STOC'94); Mitzenmacher (TPDS 2001). Cost: O(choices) per
    job. Use it with several routers or stale reports; with one router and fresh counts
    `least_loaded` waits less.
    """

    choices: int = 2  # workers compared per job
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_int("power_of_two.choices", self.choices, 1, 64)

    def seed(self, random: Random) -> None:
        """Draw from this source."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        tally = Tally.of(cluster)
        pending, slowness = tally.pending, tally.slowness
        routes: list[str | None] = []
        for cost in estimates:
            if not tally.open:
                routes.append(None)
                continue
            # The sample comes in random order and `min` keeps the first: ties are fair.
            best = min(self._drawn(tally.open), key=lambda i: slowness[i] * (pending[i] + cost))
            routes.append(tally.place(best, cost))
        return routes

    def _drawn(self, candidates: list[int]) -> Sequence[int]:
        """Return distinct candidates in random order. For two: draw i, then j among the others."""
        n = len(candidates)
        if n == 1 or self.choices == 1:
            return (candidates[int(self._random.random() * n)],)
        if self.choices == 2:
            i = int(self._random.random() * n)
            j = int(self._random.random() * (n - 1))
            return candidates[i], candidates[j + (j >= i)]
        return self._random.sample(candidates, min(self.choices, n))
