"""Why jobs were given to their workers: a few decisions a second are looked at, the last are told.

Saying what spoke for whom costs as much as deciding, so it is done for few: all of them where few
come, and a sample where many do. A leader that decides thousands a second pays one call for each
placement, and `PER_TELL` explanations a second, of at most `SCORED` workers together.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from parallax.broker.store.figures import Candidate, Decision
from parallax.core.model import ClusterView, JobView
from parallax.policies.interfaces import Explaining, PlacementObserver, RoutingPolicy

log = logging.getLogger(__name__)

#: Most decisions that are told, those that are looked at between two tellings, and of each the
#: candidates.
MOST, PER_TELL, CANDIDATES = 100, 10, 6

#: Most workers that are scored between two tellings.
SCORED = 2_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was known of a job when it was placed."""

    place: int
    job: JobView
    scores: Mapping[str, float]
    cached: Mapping[str, int]


class Decisions:
    """A watcher of the scheduler (`scheduling.watching`); it changes nothing."""

    def __init__(self) -> None:
        self._kept: deque[Decision] = deque(maxlen=MOST)
        self._left, self._scored = PER_TELL, 0
        self._asked: list[_Asked] = []
        self._policy: RoutingPolicy | None = None
        self._cluster = ClusterView((), 0.0)
        self._together = 0
        self._broken = False

    def asked(
        self, policy: RoutingPolicy, jobs: Sequence[JobView], estimates: Sequence[float],
        cluster: ClusterView,
    ) -> None:  # fmt: skip
        """See `Watcher`."""
        if self._left <= 0:
            return
        count = len(cluster.workers)
        some = min(self._left, len(jobs), (SCORED - self._scored) // max(1, count))
        if some <= 0:
            return
        self._left -= some
        self._scored += some * count
        self._policy, self._cluster, self._together = policy, cluster, len(jobs)
        try:
            self._look(policy, jobs[:some], estimates, cluster)
        except Exception:  # it only explains; placing must go on
            log.exception("%s cannot say why it decides; it is not asked again", policy)
            self._broken, self._left = True, 0
            self._asked.clear()

    def _look(
        self, policy: RoutingPolicy, jobs: Sequence[JobView], estimates: Sequence[float],
        cluster: ClusterView,
    ) -> None:  # fmt: skip
        for place in range(len(jobs)):
            job = jobs[place]
            scores: Mapping[str, float] = {}
            cached: Mapping[str, int] = {}
            if isinstance(policy, Explaining):
                scores = policy.scores(job, estimates[place], cluster)
            if isinstance(policy, PlacementObserver):
                cached = {one.id: policy.cached_tokens(job, one.id) for one in cluster.workers}
            self._asked.append(_Asked(place, job, scores, cached))

    def recent(self) -> list[Decision]:
        """Return the last decisions, and look at some more from now on."""
        if not self._broken:
            self._left, self._scored = PER_TELL, 0
        return list(self._kept)

    def told(self, routes: Sequence[str | None]) -> None:
        """See `Watcher`."""
        for one in self._asked:
            chosen = routes[one.place]
            if chosen is not None and self._policy is not None:
                self._kept.append(self._decision(one, chosen, self._policy))
        self._asked.clear()

    def _decision(self, asked: _Asked, chosen: str, policy: RoutingPolicy) -> Decision:
        workers = sorted(
            self._cluster.workers,
            key=lambda one: (
                one.id != chosen,
                asked.scores.get(one.id, 0.0),
                one.in_flight,
                one.id,
            ),
        )
        why = (type(policy).__doc__ or "").strip().partition("\n")[0]
        return Decision(
            asked.job.id, asked.job.attempt + 1, chosen, type(policy).__name__, why[:200],
            self._together, len(workers),
            [
                Candidate(
                    one.id, max(0, one.free), max(0, one.in_flight),
                    _finite(asked.scores.get(one.id)), asked.cached.get(one.id),
                )
                for one in workers[:CANDIDATES]
            ],
        )  # fmt: skip


def _finite(score: float | None) -> float | None:
    return score if score is not None and isfinite(score) else None
