"""Idle workers that take undelivered attempts from busy siblings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from parallax.core.model import WorkerView
from parallax.policies.interfaces import StealingPolicy
from parallax.scheduling.actions import Steal
from parallax.scheduling.eligibility import ANSWER, eligible, need_like, serves
from parallax.scheduling.fleet import Fleet, WorkerState
from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.versions import Versions

#: An idle worker that found nothing looks again after so long, then twice as long, up to a second.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 1.0


@dataclass(slots=True)
class Thieves:
    """Picks the idle workers that may steal. O(workers) per idle worker that looks."""

    policy: StealingPolicy
    _pauses: dict[str, tuple[float, float]] = field(default_factory=dict)  # until, and how long

    def steal(
        self, fleet: Fleet, versions: Versions, lanes: Collection[str], now: float
    ) -> list[Steal]:
        """Return what idle workers take. The store may find that an attempt has begun already.

        `lanes` are the models that queued jobs ask for: who serves one of these is given those.
        """
        stolen: list[Steal] = []
        wanted: set[str] = set()
        for name, worker in fleet.workers.items():
            if worker.attempts:
                self._pauses.pop(name, None)
                continue
            until, pause = self._pauses.get(name, (now, FIRST_PAUSE_S))
            here = fleet.view(name)
            if now < until or not eligible(ANSWER, here) or any(serves(here, m) for m in lanes):
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
        here = fleet.view(thief)
        siblings = [view for view in fleet.views() if view.id != thief and _related(view, here)]
        chosen = self.policy.choose(here, siblings, now)
        if chosen is None:
            return []
        victim, count = chosen
        return self._worthwhile(fleet.workers[victim], here, count, fleet, versions, wanted)

    def _worthwhile(
        self, victim: WorkerState, thief: WorkerView, count: int, fleet: Fleet, versions: Versions,
        wanted: set[str],
    ) -> list[Steal]:  # fmt: skip
        """Take from the end of the victim's line: what was sent last has waited least there.

        Of a session that has several turns there nothing is taken: they stay in their order.
        """
        work_s = fleet.slowness(victim) * fleet.service_s(victim.pending_cost)
        wait_s = work_s / max(1, victim.slots)
        turns = Counter(_session(attempt) for attempt in victim.attempts.values())
        stolen: list[Steal] = []
        undelivered, there_view = len(victim.attempts) - victim.slots, fleet.view(victim.id)
        for attempt in list(reversed(victim.attempts.values()))[: max(0, undelivered)]:
            if len(stolen) >= count:
                break
            job = attempt.job
            if attempt.first_token or attempt.hedged or job.prefilled_by or job.id in wanted:
                continue
            if job.session and turns[_session(attempt)] > 1:
                continue
            if not eligible(need_like(there_view, job), thief):
                continue
            there = versions.cached_tokens(job, victim.id, attempt.arm)
            here = versions.cached_tokens(job, thief.id, attempt.arm)
            if self.policy.worth(wait_s, there, here):
                stolen.append(Steal(job.id, victim.id, thief.id, attempt.attempt, job.model))
                wanted.add(job.id)
        return stolen


def _related(victim: WorkerView, thief: WorkerView) -> bool:
    """Whether both may serve the same jobs: only one that names no models serves those of any."""
    return not victim.models or not thief.models or not victim.models.isdisjoint(thief.models)


def _session(attempt: InFlight) -> tuple[str, str]:
    return attempt.job.tenant, attempt.job.session
