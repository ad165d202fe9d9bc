"""One term of leadership: everything that a leader knows, from its take-over to its end.

A term is made for a lease, learns what is in Redis (`take_over`), and takes turns. It is dropped
whole on any error, with a lost lease, and when everything must be read again: nothing that it
knows exists only in its memory, and the next one reads it from Redis.

A turn is at most two round trips whatever the size of its batch: one read (arrivals, worker
events, bell) and one commit (dispatches, account balances, and the events they rest on, in one
atomic step). The next read leaves with the commit: what a turn has sent is forgotten when the
commit was answered, and what it has read is taken when the next turn begins.
A turn that dispatches nothing leaves its balances to a later commit: until then its events stay.

Everything beside a turn is done in pieces of bounded size. What tells the leader of something
(bell, events, its own memory) is a hint that may be lost; each is compared with its truth in the
store, see `docs/promises.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from parallax.broker.link.connection import Link
from parallax.broker.store.bulletin import Bulletin, read_bulletin
from parallax.broker.store.dispatch import Dispatching, Entry, Lease, Reading, Turn
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.ledger import Ledger
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.scaling import ScalingStore, load_report
from parallax.broker.store.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import StoreFull
from parallax.core.settings import Policies, SchedulerSettings
from parallax.scheduling.events import (
    AttemptsHeld,
    BacklogMeasured,
    Event,
    PrefillEnded,
    TenantConfigured,
)
from parallax.scheduling.scheduler import Scheduler
from parallax.services import choices, inbox, spans, takeover
from parallax.services.accounts import Accounts
from parallax.services.deadlines import Deadlines
from parallax.services.decisions import Decisions
from parallax.services.janitor import Findings, Janitor
from parallax.services.lease_keeper import LeaseKeeper
from parallax.services.outbox import Outbox
from parallax.services.policy_watch import PolicyWatch
from parallax.services.prefixes import HASH_BYTES, HELD_BYTES, Arrivals, Prefixes
from parallax.services.publishing import EVERY_S, Publisher
from parallax.services.recoverer import Recoverer
from parallax.services.spans import Spans
from parallax.services.tenant_window import TenantWindow
from parallax.services.timetable import Timetable
from parallax.telemetry.scheduling import SchedulingMetrics
from parallax.telemetry.tracing import OFF, Tracer

log = logging.getLogger(__name__)

#: How often the learnt estimates are kept for the next leader, and the load is told (seconds).
KEEP_S, TELL_S = 2.0, 1.0

#: Longest time that balances wait for a dispatch to be committed with (seconds).
COMMIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Post:
    """The parts that a candidate brings to every term: a cell, and how to lead it."""

    link: Link
    reading: Link  # a twin, for the read that is under way while a turn is taken
    keys: Keys
    settings: SchedulerSettings
    policies: Policies  # that the process was started with
    clock: Clock
    metrics: SchedulingMetrics
    limits: Limits
    tracer: Tracer = OFF

    def hang_up(self) -> None:
        """Drop the connections; the next one who asks opens new ones."""
        self.link.close()
        self.reading.close()


class Term:
    """See the module's docstring."""

    def __init__(
        self, post: Post, leadership: Leadership, lease: Lease, keeper: LeaseKeeper
    ) -> None:
        link, keys, settings = post.link, post.keys, post.settings
        self._link, self._keys, self._settings = link, keys, settings
        self._clock, self._metrics, self._limits = post.clock, post.metrics, post.limits
        self._leadership, self._keeper, self.lease = leadership, keeper, lease
        self._dispatching = Dispatching(link, keys, post.reading)
        intake, rescue = Intake(link, keys, post.limits), Rescue(link, keys, post.limits)
        self._deadlines = Deadlines(link, keys)
        self._recoverer = Recoverer(Membership(link, keys), rescue, settings)
        self._janitor = Janitor(link, keys, rescue, intake, settings)
        self._prefixes = Prefixes(link, keys, self._dispatching.go_back)
        self._policies = PolicyWatch(link, keys, post.policies, settings.seed)
        self._decisions = Decisions()
        self._decide_with(self._policies.usual())
        self._accounts, self._tenancy = Accounts(Ledger(link, keys)), Tenancy(link, keys)
        self._outbox = Outbox(
            link, keys, self._dispatching, intake, rescue, self._recoverer, post.metrics,
            settings.batch, keeper.progressed,
        )  # fmt: skip
        self._publisher = Publisher(link, keys, post.metrics.pulse, self._decisions)
        self._spans = Spans(link, keys, post.tracer) if post.tracer.on else None
        self._timetable, self._scaling = Timetable(post.clock), ScalingStore(link, keys)
        self._pending: list[Event] = []
        self._sweeping: Iterator[Findings] | None = None
        self._offset = 0.0
        self._flooded = False  # there are as many events as are kept, and all has been read since
        self._outdated = False  # all is to be read again, by another term

    def _decide_with(self, scheduler: Scheduler) -> None:
        """Let this scheduler decide. Nothing refers back to the term: dropped, it is freed."""
        self._scheduler = scheduler
        scheduler.watch(self._decisions)
        self._window = TenantWindow(
            self._dispatching, self._settings, scheduler.held, _byte_room_of(scheduler)
        )

    def take_over(self) -> None:
        """Read the state in Redis: a few round trips, whatever the size of the cell.

        What may be long is begun here and read on between the turns: tenants with jobs, weights,
        accounts.
        """
        self._link.bring_scripts()  # for workers and producers whose users may only run them
        bulletin = self._look()
        self._flooded = self._is_flooded(bulletin)
        self._decide_with(self._policies.chosen())
        self._publisher.begin(bulletin.now, self.lease.candidate)
        self._dispatching.restart()
        accounts = self._accounts.begin()
        self._keeper.progressed()
        self._scheduler.restore(accounts)
        self._policies.begin_record(accounts)
        self._window.fell_behind()
        self._window.survey(self._now())
        self._pending += self._weights(bulletin, look=True)
        self._keeper.progressed()
        self._pending += self._recoverer.start()
        self._keeper.progressed()
        self._pending += takeover.attempts(
            self._link, self._keys, self._recoverer.known, self._keeper.progressed
        )

    def _follow(self, bulletin: Bulletin) -> None:
        """Change policies as a new leader would: everything is read from Redis again.

        And so it is when there are as many events as are kept: some may be lost, and what became of
        the attempts they told of is in the workers' streams.
        """
        if self._outbox.news:  # whoever charged for refused dispatches is to give that back
            return
        if self._policies.conclude(self._scheduler):
            self._metrics.pulse.happened("canary_ended", detail=self._scheduler.rollout_ended)
            bulletin = self._look()
        lost = self._is_flooded(bulletin)
        flooded, self._flooded = lost and not self._flooded, lost
        if flooded:
            log.warning("there are %d events, some may be lost", bulletin.events)
        if flooded or self._policies.changed(bulletin.policies, bulletin.recording):
            log.info("everything is read again: the policies were changed, a recording begins, "
                     "or events were lost")  # fmt: skip
            if not flooded and bulletin.policies != self._policies.serial.encode():
                self._metrics.pulse.happened("policy_changed")
            if self._outbox.uncommitted:
                self._outbox.commit(self.lease)
            self.keep()
            self._outdated = True

    def _is_flooded(self, bulletin: Bulletin) -> bool:
        return bulletin.events >= self._limits.log_entries

    def keep(self) -> None:
        """Keep the learnt estimates for the next leader. Raises Fenced."""
        self._policies.keep(self.lease, self._scheduler)

    def _now(self) -> float:
        """The server's time, as far as we can tell between two looks at it."""
        return self._clock.monotonic() + self._offset

    def _look(self) -> Bulletin:
        bulletin = read_bulletin(self._link, self._keys)
        self._offset = bulletin.now - self._clock.monotonic()
        return bulletin

    # -- a turn -----------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Take one turn; return whether the term goes on. Else all is to be read again."""
        self._keeper.check()
        self._keeper.progressed()
        self._duties()
        if self._outdated:
            return False
        read = self._read()
        started = self._clock.monotonic()
        # Release refused attempts before `WorkerLost` returns those that the worker had.
        events = self._outbox.news + self._pending
        self._pending, self._outbox.news = [], []
        events += self._understood(read)
        events = self._accounts.needed(events) + events
        now = self._metrics.pulse.now = self._now()
        thinking = self._clock.monotonic()
        actions = self._scheduler.handle(events, now)
        decided = self._clock.monotonic()
        self._policies.record(events, now, actions)
        self._outbox.uncommitted = self._outbox.uncommitted or bool(read.events)
        sent = self._outbox.carry_out(self.lease, actions, self._next_reading)
        if self._outbox.uncommitted and not sent and self._timetable.is_due("commit", COMMIT_S):
            self._outbox.commit(self.lease)
        self._metrics.decided(actions)
        if self._spans is not None:
            took_s, names = self._clock.monotonic() - thinking, self._policies.names()
            self._spans.decided(events, actions, self._outbox.news, now, took_s, names)
        self._metrics.turned(self._clock.monotonic() - started, decided - thinking)
        return True

    def _duties(self) -> None:
        """Do what the clock asks for and not an event; a bounded piece of each."""
        settings, timetable = self._settings, self._timetable
        if timetable.is_due("poll", settings.poll_s):
            with timetable.rested("poll", settings.poll_s):
                self._poll()
            if self._outdated:
                return
        elif self._window.behind:
            self._window.survey(self._now())
        if timetable.is_due("keep", KEEP_S):
            self.keep()
        if timetable.is_due("tell", EVERY_S):
            with timetable.rationed("tell"):
                self._tell()
        if self._spans is not None and timetable.is_due("spans", spans.EVERY_S):
            with timetable.rationed("spans"):
                self._spans.tell()
        if self._sweeping is None and timetable.is_due("sweep", settings.sweep_s):
            self._sweeping = self._janitor.sweep(self.lease, self._scheduler.workers)
            self._pending += self._weights(self._look(), look=True)
        if self._sweeping is not None:
            self._sweep(self._sweeping)
        self._keeper.progressed()

    def _poll(self) -> None:
        bulletin = self._look()
        self._pending += self._recoverer.poll(self.lease, self._clock.monotonic())
        self._leadership.clamp(self._recoverer.unbounded(), int(self._settings.heartbeat_s * 1000))
        self._metrics.recovered(self._recoverer.drain_counts())
        self._metrics.pulse.workers(self._recoverer.drain_news())
        self._keeper.progressed()
        self._pending += self._accounts.tend(self.lease)
        backlogs = self._window.backlogs()
        self._pending += [BacklogMeasured(tenant, unread) for tenant, unread in backlogs.items()]
        self._pending += self._deadlines.look(self._now(), bool(backlogs), self._scheduler.knows)
        self._pending += self._weights(bulletin, look=False)
        self._window.let_go(self._now())
        self._window.survey(self._now())
        if self._timetable.is_due("observe", 0.0):
            with self._timetable.rationed("observe"):
                self._metrics.observe(self._scheduler.snapshot())
        self._metrics.canary(choices.arms_of(self._scheduler))
        self._tell_load()
        self._follow(bulletin)

    def _tell_load(self) -> None:
        """Tell the load, for whoever scales. A full server takes it again when it has room."""
        if self._timetable.is_due("load", TELL_S):
            with self._timetable.rationed("load"), suppress(StoreFull):
                now = self._now()
                self._scaling.tell(load_report(self._scheduler.load(now), now))

    def _tell(self) -> None:
        """Publish the figures for viewers, in a small share of the time."""
        arms = choices.arms_of(self._scheduler)
        self._publisher.tell(self.lease, self._scheduler.snapshot(), self._policies, arms)

    def _sweep(self, sweeping: Iterator[Findings]) -> None:
        """Take one piece of the sweep, and bring what the leader knows into line with it."""
        found = next(sweeping, None)
        if found is None:
            self._sweeping = None
            return
        now = self._now()
        before = now - self._settings.repair_grace_s
        self._pending += [AttemptsHeld(worker, what, before) for worker, what in found.held.items()]
        self._recoverer.clear_away(self.lease, found.strays)
        for job in found.waiting:
            if not self._scheduler.knows(job.job_id):
                self._dispatching.rewind(job.tenant, job.detail)
        for tenant in (*found.tenants, *(job.tenant for job in found.waiting)):
            if tenant not in self._window:
                self._window.add(tenant, now)
        self._metrics.swept(found.words)

    def _weights(self, bulletin: Bulletin, look: bool) -> list[Event]:
        news = self._tenancy.news(bulletin.weights, look)
        return [TenantConfigured(tenant, weight) for tenant, weight in news.items()]

    def _read(self) -> Turn:
        block_ms = int(self._patience_s(self._outbox.uncommitted) * 1000)
        if self._dispatching.reads:
            patient = not self._window.news
            read = self._dispatching.brought(self._settings.batch, block_ms, wait=patient)
            if read is not None:
                return read
        reading = self._reading(block_ms)
        return self._dispatching.read(reading.tenants, reading.count, block_ms, reading.share)

    def _next_reading(self) -> Reading:
        """Return what is to be read when this turn is committed."""
        return self._reading(int(self._patience_s(uncommitted=False) * 1000))

    def _reading(self, block_ms: int) -> Reading:
        tenants = self._window.page(self._now())
        return Reading(tenants, self._settings.batch, block_ms, self._window.share)

    def _patience_s(self, uncommitted: bool) -> float:
        """Return how long a read may wait for news."""
        block_s = min(self._settings.block_s, self._settings.poll_s)
        if self._pending or self._outbox.news or self._window.behind:
            block_s = 0.0
        if self._window.crowded or self._scheduler.queued or uncommitted or self._sweeping:
            block_s = min(block_s, COMMIT_S)  # others wait for their turn, or a hold may end
        wake = self._scheduler.next_wake()
        if wake is not None:
            block_s = max(0.0, min(block_s, wake - self._now()))
        return block_s

    def _understood(self, read: Turn) -> list[Event]:
        now = self._now()
        events: list[Event] = []
        for entry in read.events:
            events += self._reports(entry)
        self._pending += self._forgotten_prompts(events)
        for tenant in read.rung:
            self._window.add(tenant, now)
        if read.behind:
            self._window.fell_behind()
        long: list[Arrivals] = []
        for tenant, entries in read.arrivals.items():
            self._window.add(tenant, now)
            arrived, junk, apart = inbox.arrivals(tenant, entries)
            if apart:
                long.append(Arrivals(tenant, arrived, apart))
            else:
                events += arrived
            self._outbox.set_aside(self._keys.arrivals(tenant), junk)
        if long:
            free = HELD_BYTES - HASH_BYTES * self._scheduler.hashes()
            events += self._prefixes.taken(long, self._window.byte_room, free)
        return events

    def _forgotten_prompts(self, events: Sequence[Event]) -> list[Event]:
        """Read anew what lies with workers that computed a prompt this leader knows nothing of.

        The janitor tells of such a prompt; nobody else would ever hand it over.
        """
        workers = {
            event.worker
            for event in events
            if type(event) is PrefillEnded and not self._scheduler.knows(event.job_id)
        }
        if not workers:
            return []
        found = takeover.attempts(self._link, self._keys, workers, self._keeper.progressed)
        return [event for event in found if not self._scheduler.knows(event.job.id)]

    def _reports(self, entry: Entry) -> list[Event]:
        told, junk = inbox.reports(entry)
        self._metrics.reported(told)
        if junk and not told:
            self._outbox.set_aside(self._keys.events, [(entry, junk[0])])
        elif junk:  # the entry stays until what it tells is committed
            self._outbox.note(self._keys.events, entry, junk)
        return [event for event, _ in told]


def _byte_room_of(scheduler: Scheduler) -> Callable[[str, int], int]:
    def room(tenant: str, tenants: int) -> int:
        """Return the rest of a tenant's share of one half of the room."""
        return HELD_BYTES // 2 // tenants - HASH_BYTES * scheduler.hashes(tenant)

    return room
