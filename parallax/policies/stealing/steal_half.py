"""Stealing half of the longest line among a few siblings drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import WorkerView, check_int
from parallax.policies.registry import STEALING
from parallax.policies.stealing.victims import longest, victims


@STEALING.register("steal_half")
@dataclass(slots=True)
class StealHalf:
    """Look at `choices` siblings and take half of the waiting jobs of the fullest of them.

    Half, because then a bag of jobs that all lie on one worker is spread over P workers in log P
    rounds; one at a time needs as many thefts as jobs.

    Source: Hendler & Shavit (PODC'02); Blumofe & Leiserson (JACM'99) for the bound. Cost: O(workers
    of the same pool). Use it where looking at all siblings costs something; the scheduler knows
    them all, so `longest_victim` is better there.
    """

    choices: int = 4
    threshold: int = 1  # jobs waiting, below which a sibling is left alone
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_int("steal_half.choices", self.choices, 1, 10**6)
        check_int("steal_half.threshold", self.threshold, 1, 10**6)

    def seed(self, random: Random) -> None:
        """Use this source for the draws."""
        self._random = random

    def choose(
        self, thief: WorkerView, siblings: Sequence[WorkerView], now: float
    ) -> tuple[str, int] | None:
        """See `interfaces.StealingPolicy`."""
        drawn = self._random.sample(list(siblings), min(self.choices, len(siblings)))
        return longest(victims(thief, drawn, self.threshold))

    def worth(self, wait_s: float, cached_there: int, cached_here: int) -> bool:
        """See `interfaces.StealingPolicy`: any job is worth it."""
        return True
