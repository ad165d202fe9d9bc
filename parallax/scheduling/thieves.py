"""Idle workers that take undelivered attempts from busy siblings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from parallax.policies.interfaces import StealingPolicy
from parallax.scheduling.actions import Steal
from parallax.scheduling.eligibility import ANSWER, eligible, need_like
from parallax.scheduling.fleet import Fleet, WorkerState
from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.versions import Versions

#: An idle worker that found nothing looks again after so long, then twice as long, up to a second.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 1.0


@dataclass(slots=True)
class Thieves:
    """Who is idle and may look for work. O(workers) per idle worker that looks."""

    policy: StealingPolicy
    _pauses: dict[str, tuple[float, float]] = field(default_factory=dict)  # until, and how long

    def steal(self, fleet: Fleet, versions: Versions, now: float) -> list[Steal]:
        """Return what idle workers take. The store may find that an attempt has begun already."""
        stolen: list[Steal] = []
        wanted: set[str] = set()
        for name, worker in fleet.workers.items():
            if worker.attempts:
                self._pauses.pop(name, None)
                continue
            until, pause = self._pauses.get(name, (now, FIRST_PAUSE_S))
            if now < until or not eligible(ANSWER, fleet.view(name)):
                continue
            taken = self._taken(name, fleet, versions, wanted, now)
            if taken:
                self._pauses.pop(name, None)
                stolen += taken
            else:
                self._pauses[name] = (now + pause, min(2 * pause, LONGEST_PAUSE_S))
        return stolen

    def forget(self, worker: str) -> None:
        """A worker is gone."""
        self._pauses.pop(worker, None)

    def _taken(
        self, thief: str, fleet: Fleet, versions: Versions, wanted: set[str], now: float
    ) -> list[Steal]:
        siblings = [view for view in fleet.views() if view.id != thief]
        here = fleet.view(thief)
        chosen = self.policy.choose(here, siblings, now)
        if chosen is None or not eligible(need_like(fleet.view(chosen[0])), here):
            return []
        victim, count = chosen
        return self._worthwhile(fleet.workers[victim], thief, count, fleet, versions, wanted)

    def _worthwhile(
        self, victim: WorkerState, thief: str, count: int, fleet: Fleet, versions: Versions,
        wanted: set[str],
    ) -> list[Steal]:  # fmt: skip
        """Take from the end of the victim's line: what was sent last has waited least there.

        Of a session that has several turns there nothing is taken: they stay in their order.
        """
        work_s = fleet.slowness(victim) * fleet.service_s(victim.pending_cost)
        wait_s = work_s / max(1, victim.slots)
        turns = Counter(_session(attempt) for attempt in victim.attempts.values())
        stolen: list[Steal] = []
        undelivered = len(victim.attempts) - victim.slots
        for attempt in list(reversed(victim.attempts.values()))[: max(0, undelivered)]:
            if len(stolen) >= count:
                break
            job = attempt.job
            if attempt.first_token or attempt.hedged or job.prefilled_by or job.id in wanted:
                continue
            if job.session and turns[_session(attempt)] > 1:
                continue
            there = versions.cached_tokens(job, victim.id, attempt.arm)
            here = versions.cached_tokens(job, thief, attempt.arm)
            if self.policy.worth(wait_s, there, here):
                stolen.append(Steal(job.id, victim.id, thief, attempt.attempt))
                wanted.add(job.id)
        return stolen


def _session(attempt: InFlight) -> tuple[str, str]:
    return attempt.job.tenant, attempt.job.session
