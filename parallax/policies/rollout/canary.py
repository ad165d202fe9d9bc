"""Canary: a part of the sessions tries a new version, and a sequential test watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Any

from parallax.core.hashing import point
from parallax.core.model import JobView, check_int, check_number
from parallax.policies.registry import ROLLOUT

CANARY, STABLE = "canary", "stable"
BUCKETS = 10_000


@dataclass(slots=True)
class _Arm:
    """The jobs of one version that were judged."""

    skipped: int = 0
    jobs: int = 0
    missed: int = 0

    @property
    def rate(self) -> float:
        return self.missed / self.jobs if self.jobs else 0.0


@ROLLOUT.register("canary")
@dataclass(slots=True)
class Canary:
    """Give `percent` of the sessions to the candidate until a test says how good it is.

    A session keeps its version, and one that is among 5 % is among 25 % too: its bucket is a hash.
    What is compared is the share of jobs that missed their objective. The test may be looked at
    after every job and still rolls back a good version in at most `alpha` of all rollouts: it is a
    mixture sequential probability ratio test with a normal mixture of width `difference`. Looking
    at a plain z-test as often would do so in 40 %.

    It promotes when, after `enough` jobs of the candidate, an effect as large as `difference` would
    have shown with the same confidence. The first `warm_up` jobs of each version are not judged:
    their caches are cold. A verdict needs `fewest` jobs, but for one case: three times as many
    misses roll back as soon as the test is certain.

    Source: Robbins 1970; Johari, Koomen, Pekelis & Walsh (KDD'17). Cost: O(1) per job and per look.
    Use it before a new policy gets everything; with very few sessions buckets are coarse.
    """

    percent: float = 5.0  # of the sessions, 0..100
    alpha: float = 0.05
    difference: float = 0.02  # in the share of misses, that matters
    fewest: int = 500  # judged jobs of the candidate before any verdict
    enough: int = 10_000  # judged jobs of the candidate after which it has proved itself
    warm_up: int = 50
    salt: str = "parallax"
    _arms: dict[str, _Arm] = field(
        default_factory=lambda: {CANARY: _Arm(), STABLE: _Arm()}, init=False, repr=False
    )

    def __post_init__(self) -> None:
        check_number("canary.percent", self.percent, 0.0, 100.0)
        check_number("canary.alpha", self.alpha, 1e-9, 0.5)
        check_number("canary.difference", self.difference, 1e-6, 1.0)
        check_int("canary.fewest", self.fewest, 1, 10**9)
        check_int("canary.enough", self.enough, 1, 10**9)
        check_int("canary.warm_up", self.warm_up, 0, 10**6)

    def arm(self, job: JobView) -> str:
        """See `interfaces.RolloutPolicy`."""
        bucket = point(f"{self.salt}|{job.tenant}|{job.session or job.id}") % BUCKETS
        return CANARY if bucket < self.percent / 100 * BUCKETS else STABLE

    def observe(self, arm: str, missed_slo: bool) -> None:
        """See `interfaces.RolloutPolicy`."""
        seen = self._arms[arm]
        if seen.skipped < self.warm_up:
            seen.skipped += 1
            return
        seen.jobs += 1
        seen.missed += missed_slo

    def verdict(self) -> str:
        """See `interfaces.RolloutPolicy`."""
        canary, stable = self._arms[CANARY], self._arms[STABLE]
        if not canary.jobs or not stable.jobs:
            return "undecided"
        certain = self._log_ratio(canary, stable) >= log(1 / self.alpha)
        if certain and canary.missed >= 5 and canary.rate > 3 * stable.rate:
            return "rollback"
        if canary.jobs < self.fewest:
            return "undecided"
        if certain:
            return "rollback" if canary.rate > stable.rate else "promote"
        return "promote" if canary.jobs >= self.enough else "undecided"

    def remember(self) -> dict[str, Any]:
        """See `interfaces.Remembering`."""
        return {name: [arm.skipped, arm.jobs, arm.missed] for name, arm in self._arms.items()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """See `interfaces.Remembering`."""
        for name in (CANARY, STABLE):
            skipped, jobs, missed = memory[name]
            self._arms[name] = _Arm(int(skipped), int(jobs), int(missed))

    def _log_ratio(self, canary: _Arm, stable: _Arm) -> float:
        """Return the log of the mixture likelihood ratio: evidence that the two rates differ.

        `pairs` is the harmonic mean of the two sizes: so many pairs carry as much information as
        two arms of unequal size.
        """
        pairs = 2 * canary.jobs * stable.jobs / (canary.jobs + stable.jobs)
        pooled = (canary.missed + stable.missed) / (canary.jobs + stable.jobs)
        variance = 2 * pooled * (1 - pooled)
        if variance <= 0:
            return 0.0
        spread = variance + pairs * self.difference**2
        gap = canary.rate - stable.rate
        evidence = (pairs * self.difference * gap) ** 2 / (2 * variance * spread)
        return evidence + log(sqrt(variance / spread))
