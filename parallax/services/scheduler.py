"""The scheduler process: holds the lease, feeds the scheduler from Redis, commits what it decides.

    standby --lease acquired--> take over (rebuild everything from Redis) --> turn, turn, turn ...
       ^                                                                         |
       +---------------- any error or a lost lease: forget everything -----------+

A turn is at most two round trips whatever the size of its batch: one read (arrivals, worker
events, bell) and one commit (dispatches, account balances, and the events they rest on, in one
atomic step).
A turn that dispatches nothing leaves its balances to a later commit: until then its events stay.
Nothing the leader knows exists only in its memory: a new one reads the accounts, the workers'
streams, the events that no commit has dropped yet, and the tenants' streams from their beginning.

Everything beside a turn is done in pieces of bounded size, and the lease is renewed beside all of
it (`lease_keeper`): neither a slow network nor a large cell can take so long that nobody leads.
What tells the leader of something (bell, events, its own memory) is a hint that may be lost; each
is compared with its truth in the store, see `docs/promises.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from parallax.broker.link.connection import Link
from parallax.broker.store.bulletin import Bulletin, read_bulletin
from parallax.broker.store.dispatch import Dispatching, Entry, Lease, Turn
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.ledger import Ledger
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.settings import Policies, SchedulerSettings
from parallax.scheduling.events import (
    AttemptsHeld,
    BacklogMeasured,
    Event,
    PrefillEnded,
    TenantConfigured,
)
from parallax.services import choices, inbox, takeover
from parallax.services.accounts import Accounts
from parallax.services.deadlines import Deadlines
from parallax.services.janitor import Findings, Janitor
from parallax.services.lease_keeper import LeaseKeeper
from parallax.services.outbox import Outbox
from parallax.services.policy_watch import PolicyWatch
from parallax.services.prefixes import HASH_BYTES, HELD_BYTES, Arrivals, Prefixes
from parallax.services.recoverer import Recoverer
from parallax.services.tenant_window import TenantWindow
from parallax.services.timetable import Timetable
from parallax.telemetry.scheduling import SchedulingMetrics

log = logging.getLogger(__name__)

#: How often what was learnt is kept for the next leader (seconds).
KEEP_S = 2.0

#: Longest time that balances wait for a dispatch to be committed with (seconds).
COMMIT_S = 0.05


class SchedulerService:
    """One candidate for leadership; see the module's docstring."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        candidate: str,
        settings: SchedulerSettings,
        policies: Policies,
        clock: Clock,
        metrics: SchedulingMetrics,
        limits: Limits | None = None,
    ) -> None:
        self._link, self._keys, self._settings, self._clock = link, keys, settings, clock
        self._started, self._metrics, self._candidate = policies, metrics, candidate
        self._limits = limits or Limits()
        self._leadership = self._led_by(link)
        self._dispatching = Dispatching(link, keys)
        self._intake, self._deadlines = Intake(link, keys, self._limits), Deadlines(link, keys)
        self._rescue = Rescue(link, keys, self._limits)
        self._recoverer = Recoverer(Membership(link, keys), self._rescue, settings)
        self._janitor = Janitor(link, keys, self._rescue, self._intake, settings)
        self._prefixes = Prefixes(link, keys, self._dispatching.cursors.__setitem__)
        self._lease: Lease | None = None
        self._keeper: LeaseKeeper | None = None
        self._flooded = False  # the events are as many as are kept
        self._reset()

    def _led_by(self, link: Link) -> Leadership:
        return Leadership(link, self._keys, self._candidate, int(self._settings.lease_s * 1000))

    def _reset(self) -> None:
        self._policies = PolicyWatch(self._link, self._keys, self._started, self._settings.seed)
        self._scheduler = self._policies.usual()
        self._window = TenantWindow(self._dispatching, self._settings, self._held, self._byte_room)
        self._accounts = Accounts(Ledger(self._link, self._keys))
        self._tenancy = Tenancy(self._link, self._keys)
        self._pending: list[Event] = []
        self._outbox = Outbox(
            self._link, self._keys, self._dispatching, self._intake, self._rescue, self._recoverer,
            self._metrics, self._settings.batch, self._progressed,
        )  # fmt: skip
        self._timetable = Timetable(self._clock)
        self._sweeping: Iterator[Findings] | None = None
        self._offset = 0.0

    @property
    def leading(self) -> bool:
        """Whether this process is the leader, as far as it knows."""
        return self._lease is not None

    def run_once(self) -> None:
        """Stand by for a while, or take one turn as the leader."""
        if self._lease is None:
            self._stand_by()
        else:
            self._turn(self._lease)

    def recover(self, error: Exception) -> None:
        """Forget everything: what is true is in Redis, and `take over` reads it from there."""
        self._lease = None
        self._let_the_lease_go()
        self._metrics.failed(error)
        self._metrics.leading(False)
        self._link.close()
        self._reset()

    def close(self) -> None:
        """Resign, so that a standby takes over at once."""
        self._let_the_lease_go()
        if self._lease is not None:
            try:
                self._policies.keep(self._lease, self._scheduler)
                self._leadership.resign(self._lease)
            except ParallaxError as error:
                log.warning("could not resign: %s", error)
        self._link.close()

    # -- leadership -----------------------------------------------------------------------------

    def _stand_by(self) -> None:
        lease = self._leadership.acquire()
        if lease is None:
            self._clock.wait(self._settings.lease_s / 4)
            return
        self._let_the_lease_go()  # of an earlier try that failed
        link = self._link.twin()
        self._keeper = LeaseKeeper(link, self._led_by(link), lease, self._settings, self._clock)
        self._keeper.start()
        self._reset()
        self._take_over()
        self._lease = lease
        self._metrics.leading(True)
        log.info("leading with epoch %s", lease.epoch)

    def _let_the_lease_go(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None

    def _progressed(self) -> None:
        """One bounded piece of work is done: the lease is worth keeping."""
        if self._keeper is not None:
            self._keeper.progressed()

    def _take_over(self) -> None:
        """Learn what is in Redis: a few round trips, whatever the size of the cell.

        What may be long is begun here and read on between the turns: tenants with jobs, weights,
        accounts.
        """
        self._link.bring_scripts()  # for workers and producers whose users may only run them
        bulletin = self._look()
        self._scheduler = self._policies.chosen()
        self._dispatching.restart()
        accounts = self._accounts.begin()
        self._progressed()
        self._scheduler.restore(accounts)
        self._policies.begin_record(accounts)
        self._window.fell_behind()
        self._window.survey(self._now())
        self._pending += self._weights(bulletin, look=True)
        self._progressed()
        self._pending += self._recoverer.start()
        self._progressed()
        self._pending += takeover.attempts(
            self._link, self._keys, self._recoverer.known, self._progressed
        )

    def _follow(self, lease: Lease, bulletin: Bulletin) -> None:
        """Change policies as a new leader would: everything is read from Redis again.

        And so it is when there are as many events as are kept: some may be lost, and what became of
        the attempts they told of is in the workers' streams.
        """
        if self._outbox.news:  # what was refused is to be given back by those who charged it
            return
        if self._policies.conclude(self._scheduler):
            bulletin = self._look()
        lost = bulletin.events >= self._limits.log_entries
        flooded, self._flooded = lost and not self._flooded, lost
        if flooded:
            log.warning("there are %d events, some may be lost", bulletin.events)
        if flooded or self._policies.changed(bulletin.policies, bulletin.recording):
            log.info("everything is read again: the policies were changed, a recording begins, "
                     "or events were lost")  # fmt: skip
            if self._outbox.uncommitted:
                self._outbox.commit(lease)
            self._policies.keep(lease, self._scheduler)
            self._reset()
            self._take_over()

    def _held(self, tenant: str) -> int:
        return self._scheduler.held(tenant)

    def _byte_room(self, tenant: str) -> int:
        """Return how many more bytes of prefixes of this tenant may be read into memory."""
        share = HELD_BYTES // 2 // max(1, len(self._window))
        return share - HASH_BYTES * self._scheduler.hashes(tenant)

    def _now(self) -> float:
        """The server's time, as far as we can tell between two looks at it."""
        return self._clock.monotonic() + self._offset

    def _look(self) -> Bulletin:
        bulletin = read_bulletin(self._link, self._keys)
        self._offset = bulletin.now - self._clock.monotonic()
        return bulletin

    # -- a turn -----------------------------------------------------------------------------------

    def _turn(self, lease: Lease) -> None:
        if self._keeper is not None:
            self._keeper.check()
        self._progressed()
        self._duties(lease)
        read = self._read()
        started = self._clock.monotonic()
        # What was refused comes first: a worker that is lost by now never had it.
        events = self._outbox.news + self._pending
        self._pending, self._outbox.news = [], []
        events += self._understood(read)
        events = self._accounts.needed(events) + events
        now = self._now()
        actions = self._scheduler.handle(events, now)
        self._policies.record(events, now, actions)
        self._outbox.uncommitted = self._outbox.uncommitted or bool(read.events)
        sent = self._outbox.carry_out(lease, actions)
        if self._outbox.uncommitted and not sent and self._timetable.is_due("commit", COMMIT_S):
            self._outbox.commit(lease)
        self._metrics.decided(actions)
        self._metrics.turned(self._clock.monotonic() - started)

    def _duties(self, lease: Lease) -> None:
        """What is done by the clock and not by events; a bounded piece of each."""
        settings, timetable = self._settings, self._timetable
        if timetable.is_due("poll", settings.poll_s):
            with timetable.rested("poll", settings.poll_s):
                self._poll(lease)
        elif self._window.behind:
            self._window.survey(self._now())
        if timetable.is_due("keep", KEEP_S):
            self._policies.keep(lease, self._scheduler)
        if self._sweeping is None and timetable.is_due("sweep", settings.sweep_s):
            self._sweeping = self._janitor.sweep(lease, self._scheduler.workers)
            self._pending += self._weights(self._look(), look=True)
        if self._sweeping is not None:
            self._sweep(lease, self._sweeping)
        self._progressed()

    def _poll(self, lease: Lease) -> None:
        bulletin = self._look()
        self._pending += self._recoverer.poll(lease, self._clock.monotonic())
        self._leadership.clamp(self._recoverer.unbounded(), int(self._settings.heartbeat_s * 1000))
        self._metrics.recovered(self._recoverer.drain_counts())
        self._progressed()
        self._pending += self._accounts.tend(lease)
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
        self._follow(lease, bulletin)

    def _sweep(self, lease: Lease, sweeping: Iterator[Findings]) -> None:
        """Take one piece of the sweep, and bring what the leader knows into line with it."""
        found = next(sweeping, None)
        if found is None:
            self._sweeping = None
            return
        now = self._now()
        before = now - self._settings.repair_grace_s
        self._pending += [AttemptsHeld(worker, what, before) for worker, what in found.held.items()]
        self._recoverer.clear_away(lease, found.strays)
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
        block_s = min(self._settings.block_s, self._settings.poll_s)
        if self._pending or self._outbox.news or self._window.behind:
            block_s = 0.0
        if (
            self._window.crowded
            or self._scheduler.queued
            or self._outbox.uncommitted
            or self._sweeping is not None
        ):
            block_s = min(block_s, COMMIT_S)  # others wait for their turn, or a hold may end
        wake = self._scheduler.next_wake()
        if wake is not None:
            block_s = max(0.0, min(block_s, wake - self._now()))
        tenants = self._window.page(self._now())
        batch, share = self._settings.batch, self._window.share
        return self._dispatching.read(tenants, batch, int(block_s * 1000), share)

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
            events += self._prefixes.taken(long, self._byte_room, free)
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
        found = takeover.attempts(self._link, self._keys, workers, self._progressed)
        return [event for event in found if not self._scheduler.knows(event.job.id)]

    def _reports(self, entry: Entry) -> list[Event]:
        told, junk = inbox.reports(entry)
        for event, report in told:
            self._metrics.reported(event, report)
        if junk and not told:
            self._outbox.set_aside(self._keys.events, [(entry, junk[0])])
        elif junk:  # the entry stays until what it tells is committed
            self._outbox.note(self._keys.events, entry, junk)
        return [event for event, _ in told]
