"""The recoverer: finds dead workers and gives their jobs back.

A worker is dead when its heartbeat key is gone, and only then: never because something took long.
Four rules keep a fault of the clock or of Redis from looking like the death of the fleet:
1. At most a fifth of the workers (but at least one) is declared dead at first sight, per heartbeat
   period; nobody is for a whole period after more than half of four or more were missing: they come
   back one after the other, and the last of them would be taken for a few deaths.
2. The others are dead when they have been missing at every look for one more period: whoever lives
   has renewed its heartbeat several times by then.
3. That period is counted in looks, since a clock may step, and the count is kept in Redis, since
   leaders may follow each other faster than workers are given up.
4. `reclaim` looks at the heartbeat again in the same step in which it takes the entries.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from math import ceil

from parallax.broker.store.attempts import Assignment, decode_assignment
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.membership import Member, Membership, dram_of, models_of
from parallax.broker.store.rescue import Rescue
from parallax.core.errors import InvalidInput, StoreFull
from parallax.core.settings import SchedulerSettings
from parallax.core.words import Buried, Reclaimed
from parallax.scheduling.events import Event, WorkerLost, WorkerReported

log = logging.getLogger(__name__)

#: Entries of a dead worker that are given back in one go, and how many times in one look.
_PAGE, _PAGES = 500, 5
#: Most workers that are given up in one look: the others are, in the next one.
_AT_ONCE = 100
#: The time to live of a key that has none.
_FOR_EVER = -1
#: What the store says of a worker that is not gone.
_LIVES = (Buried.ALIVE, Buried.FENCED)
#: More than this share of four or more workers missing at once is not believed at first sight.
_MASS = 0.5


#: What became of a worker, and the jobs that it held.
News = tuple[str, str, list[str]]


class Recoverer:
    """Follows the workers' heartbeats; tells the scheduler who came and who is lost."""

    def __init__(self, membership: Membership, rescue: Rescue, settings: SchedulerSettings) -> None:
        self._membership = membership
        self._rescue = rescue
        self._settings = settings
        self.known: dict[str, Member] = {}
        self._looks: dict[str, int] = {}  # how often in a row a worker was found missing
        self._enough = 1 + ceil(settings.heartbeat_s / settings.poll_s)
        self._period_ends, self._at_sight, self._doubt_ends = 0.0, 0, 0.0
        self._counts: Counter[str] = Counter()
        self._news: list[News] = []

    def start(self) -> list[Event]:
        """Learn the registered workers; the dead among them are found at the next poll."""
        self.known.clear()
        self._looks = self._membership.suspects()
        self._period_ends, self._at_sight, self._doubt_ends = 0.0, 0, 0.0
        events: list[Event] = []
        for member in self._membership.members():
            self.known[member.worker] = member
            if member.alive:
                events.append(_reported(member))
        return events

    def poll(self, lease: Lease, now: float) -> list[Event]:
        """Read heartbeats and reports; reclaim what dead workers held. `now` is monotonic."""
        members = self._membership.members()
        alive = [member for member in members if member.alive]
        missing = {member.worker for member in members if not member.alive}
        most = max(len(self._looks), len(missing))  # before this look, by another leader perhaps
        self._look(missing)
        if len(members) >= 4 and most > _MASS * len(members):
            self._doubt_ends = now + self._settings.heartbeat_s
        events: list[Event] = []
        for member in alive:
            if member.worker not in self.known:
                self._news.append(("worker_new", member.worker, []))
            self.known[member.worker] = member
            events.append(_reported(member))
        gone = set(self.known) - {member.worker for member in members}
        dead = self._give_back(lease, self._believed_dead(len(members), now)[:_AT_ONCE])
        for worker in dead:
            log.warning("worker %s is dead; its jobs go back to their queues", worker)
            self._counts["deaths"] += 1
            self._news.append(("worker_dead", worker, []))
        self._news += [("worker_left", worker, []) for worker in sorted(gone)]
        gone.update(dead)
        for worker in sorted(gone):
            self.known.pop(worker, None)
            events.append(WorkerLost(worker))
        return events

    def _look(self, missing: set[str]) -> None:
        before, self._looks = self._looks, {w: self._looks.get(w, 0) + 1 for w in missing}
        if before or missing:
            try:
                self._membership.suspect(self._looks, gone=before.keys() - missing)
            except StoreFull as error:  # then ours are counted all the same
                log.warning("who is missing is not noted just now: %s", error)

    def clear_away(self, lease: Lease, strays: Sequence[str]) -> None:
        """Give back what lies in streams of workers that are not registered, and delete these."""
        self._give_back(lease, strays[:_AT_ONCE])

    def cap(self, worker: str) -> int:
        """Return the most entries a worker's stream may hold: twice what the gate would send."""
        member = self.known.get(worker)
        return 2 * member.registration.slots + 16 if member else 0

    def unbounded(self) -> list[str]:
        """Return the workers whose heartbeat lasts longer than any was written to last."""
        most = self._settings.heartbeat_s * 1000
        ttls = {worker: member.ttl_ms for worker, member in self.known.items()}
        return [worker for worker, ttl in ttls.items() if ttl > most or ttl == _FOR_EVER]

    def drain_counts(self) -> Counter[str]:
        """Return the counts of reclaimed attempts since the last call, by word."""
        counts, self._counts = self._counts, Counter()
        return counts

    def drain_news(self) -> list[News]:
        """Return what became of workers since the last call."""
        news, self._news = self._news, []
        return news

    def _believed_dead(self, total: int, now: float) -> list[str]:
        """Apply rules 1 and 2 of the module's docstring."""
        period = self._settings.heartbeat_s
        missing = sorted(self._looks, key=lambda worker: (-self._looks[worker], worker))
        certain = [worker for worker in missing if self._looks[worker] >= self._enough]
        if now >= self._period_ends:
            self._period_ends, self._at_sight = now + period, 0
        if now < self._doubt_ends:
            return certain
        allowed = max(1, total // 5) - self._at_sight
        at_sight = [w for w in missing if w not in certain][: max(0, allowed)]
        self._at_sight += len(at_sight)
        return certain + at_sight

    def _give_back(self, lease: Lease, workers: Sequence[str]) -> list[str]:
        """Reclaim what dead workers held; return those that are really gone.

        All of them at once, a page of each at a time: four round trips, and three for each further
        page. What is left after some pages is found again by the next look.
        """
        left, empty = list(workers), list[str]()
        for _ in range(_PAGES):
            entries = self._membership.held_by(left, _PAGE)
            empty += [worker for worker, page in entries.items() if not page]
            held = {worker: self._held(worker, page) for worker, page in entries.items() if page}
            words = self._rescue.reclaim_all(lease, {w: page for w, page in held.items() if page})
            for worker, some in words.items():
                self._counts.update(some)
                back = [a.job_id for a, word in zip(held[worker], some, strict=False)
                        if word is Reclaimed.OK]  # fmt: skip
                if back:
                    self._news.append(("recovered", worker, back))
            left = [worker for worker in held if words.get(worker, held)]  # others live after all
            if not left:
                break
        answers = self._membership.bury_all(empty, lease)
        return [w for w, word in zip(empty, answers, strict=True) if word not in _LIVES]

    def _held(
        self, worker: str, entries: Sequence[tuple[str, Sequence[bytes]]]
    ) -> list[Assignment]:
        held, junk = [], []
        for entry in (Entry(place, fields) for place, fields in entries):
            try:
                held.append(decode_assignment(entry))
            except InvalidInput as error:
                junk.append((entry, str(error)))
        self._rescue.quarantine(self._membership.stream(worker), junk)
        return held


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
        member.draining,
        models_of(about),
        dram_of(about),
    )
