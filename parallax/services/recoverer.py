"""The recoverer: finds dead workers and gives their jobs back.

A worker is dead when its heartbeat key is gone, and only then: never because something took long.
Three rules keep a fault of the clock or of Redis from looking like the death of the fleet:
1. At most a fifth of the workers (but at least one) is declared dead per heartbeat period.
2. If more than half of four or more vanish at once, one more period is waited.
3. `reclaim` looks at the heartbeat again in the same step in which it takes the entries.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

from parallax.broker.attempts import Assignment, decode_assignment
from parallax.broker.dispatching import Entry, Lease
from parallax.broker.membership import Member, Membership
from parallax.broker.rescue import Rescue
from parallax.core.errors import InvalidInput
from parallax.core.settings import SchedulerSettings
from parallax.scheduling.events import Event, WorkerLost, WorkerReported

log = logging.getLogger(__name__)

_PAGE = 500
#: More than this share of four or more workers missing at once is not believed at first sight.
_MASS = 0.5


class Recoverer:
    """Follows the workers' heartbeats; tells the scheduler who came and who is lost."""

    def __init__(self, membership: Membership, rescue: Rescue, settings: SchedulerSettings) -> None:
        self._membership = membership
        self._rescue = rescue
        self._settings = settings
        self.known: dict[str, Member] = {}
        self._missing_since: dict[str, float] = {}
        self._budget_at = 0.0
        self._counts: Counter[str] = Counter()

    def start(self, now: float) -> list[Event]:
        """Learn the registered workers; the dead among them are found at the next poll."""
        self.known.clear()
        self._missing_since.clear()
        self._budget_at = 0.0
        events: list[Event] = []
        for member in self._membership.members():
            self.known[member.worker] = member
            if member.alive:
                events.append(_reported(member))
        return events

    def poll(self, lease: Lease, now: float) -> list[Event]:
        """Read heartbeats and reports; reclaim what dead workers held."""
        members = self._membership.members()
        alive = [member for member in members if member.alive]
        missing = {member.worker for member in members if not member.alive}
        for worker in list(self._missing_since):
            if worker not in missing:
                del self._missing_since[worker]
        for worker in missing:
            self._missing_since.setdefault(worker, now)
        events: list[Event] = []
        for member in alive:
            self.known[member.worker] = member
            events.append(_reported(member))
        gone = set(self.known) - {member.worker for member in members}
        for worker in self._believed_dead(len(members), now):
            if self._give_back(lease, worker):
                gone.add(worker)
        for worker in sorted(gone):
            self.known.pop(worker, None)
            self._missing_since.pop(worker, None)
            events.append(WorkerLost(worker))
        return events

    def cap(self, worker: str) -> int:
        """Return the most entries a worker's stream may hold: twice what the gate would send."""
        member = self.known.get(worker)
        return 2 * member.registration.slots + 16 if member else 0

    def drain_counts(self) -> Counter[str]:
        """Return what was reclaimed since the last call, by word."""
        counts, self._counts = self._counts, Counter()
        return counts

    def _believed_dead(self, total: int, now: float) -> list[str]:
        """Apply rules 1 and 2 of the module's docstring."""
        period = self._settings.heartbeat_s
        missing = sorted(self._missing_since)
        if total >= 4 and len(missing) > _MASS * total:
            missing = [w for w in missing if now - self._missing_since[w] >= period]
        if not missing or now < self._budget_at:
            return []
        allowed = max(1, total // 5)
        if len(missing) >= allowed:
            self._budget_at = now + period
        return missing[:allowed]

    def _give_back(self, lease: Lease, worker: str) -> bool:
        """Reclaim everything a dead worker held; say whether it is really gone."""
        while held := list(self._held(worker)):
            words = self._rescue.reclaim(lease, worker, held[:_PAGE])
            if not words:
                return False  # alive after all
            self._counts.update(words)
        if self._membership.bury(worker, lease) == "alive":
            return False
        log.warning("worker %s is dead; its jobs go back to their queues", worker)
        self._counts["deaths"] += 1
        return True

    def _held(self, worker: str) -> Iterator[Assignment]:
        junk = []
        for entry, fields in self._membership.held(worker):
            try:
                yield decode_assignment(Entry(entry, fields))
            except InvalidInput as error:
                junk.append((Entry(entry, fields), str(error)))
        self._rescue.quarantine(self._membership.stream(worker), junk)


def _reported(member: Member) -> WorkerReported:
    about = member.registration
    return WorkerReported(
        member.worker,
        about.slots,
        about.weight,
        min(1.0, max(0.0, member.number("kv_used"))),
        about.kv_capacity,
        about.role,
        about.version,
        member.number("draining") > 0,
    )
