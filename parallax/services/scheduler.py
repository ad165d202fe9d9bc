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
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from parallax.broker.connection import Link
from parallax.broker.dispatching import Dispatching, Entry, Lease, Turn
from parallax.broker.intake import Intake
from parallax.broker.keys import Keys
from parallax.broker.limits import Limits
from parallax.broker.membership import Leadership, Membership
from parallax.broker.policy_store import PolicyDocument, PolicyStore
from parallax.broker.recording import Beginning, Recorder
from parallax.broker.rescue import Rescue
from parallax.broker.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import Conflict, InvalidInput, ParallaxError, StoreFull, UnknownPolicy
from parallax.core.settings import Policies, SchedulerSettings
from parallax.scheduling.actions import Action
from parallax.scheduling.events import (
    AttemptsHeld,
    BacklogMeasured,
    Event,
    TenantConfigured,
)
from parallax.services import choices, inbox, takeover
from parallax.services.deadlines import Deadlines
from parallax.services.janitor import Janitor
from parallax.services.outbox import Outbox
from parallax.services.prefixes import HASH_BYTES, HELD_BYTES, Arrivals, Prefixes
from parallax.services.recoverer import Recoverer
from parallax.telemetry.scheduling import SchedulingMetrics

log = logging.getLogger(__name__)

#: Most streams in one read; more active tenants than that take turns.
MAX_STREAMS = 512

#: How often what was learnt is kept for the next leader (seconds).
KEEP_S = 2.0

#: Longest time that balances wait for a dispatch to be committed with (seconds).
COMMIT_S = 0.05


@dataclass(slots=True)
class Watch:
    """Which tenants' streams are read: those with arrivals, until they are idle for a while."""

    tenants: dict[str, float] = field(default_factory=dict)  # tenant -> time of its last arrival
    start: int = 0

    def add(self, tenant: str, now: float) -> None:
        """Read this tenant's stream from now on."""
        self.tenants[tenant] = now

    def idle(self, now: float, after_s: float) -> list[str]:
        """Return tenants without arrivals for so long."""
        return [tenant for tenant, last in self.tenants.items() if now - last >= after_s]

    def page(self, room: Callable[[str], bool]) -> list[str]:
        """Return the tenants to read in this turn: those with room in memory, in rotation."""
        open_ = [tenant for tenant in self.tenants if room(tenant)]
        if len(open_) <= MAX_STREAMS:
            return open_
        self.start = (self.start + MAX_STREAMS) % len(open_)
        return (open_[self.start :] + open_[: self.start])[:MAX_STREAMS]


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
        self._started, self._metrics = policies, metrics
        self._store, self._recorder = PolicyStore(link, keys), Recorder(link, keys)
        limits = limits or Limits()
        self._leadership = Leadership(link, keys, candidate, int(settings.lease_s * 1000))
        self._dispatching = Dispatching(link, keys)
        self._intake, self._deadlines = Intake(link, keys, limits), Deadlines(link, keys)
        self._rescue = Rescue(link, keys, limits)
        self._recoverer = Recoverer(Membership(link, keys), self._rescue, settings)
        self._janitor = Janitor(link, keys, self._rescue, self._intake, settings)
        self._prefixes = Prefixes(link, keys, self._dispatching.cursors.__setitem__)
        self._lease: Lease | None = None
        self._reset()

    def _reset(self) -> None:
        self._document, self._recalled = PolicyDocument(), dict[str, Any]()
        self._serial = b""
        self._recorder.recording = b""
        self._scheduler = choices.built(self._started, self._document, self._settings.seed)
        self._watch, self._full = Watch(), False
        self._tenancy = Tenancy(self._link, self._keys)
        self._pending: list[Event] = []
        self._outbox = Outbox(
            self._link, self._keys, self._dispatching, self._intake, self._rescue, self._recoverer,
            self._metrics, self._settings.batch,
        )  # fmt: skip
        self._due = dict.fromkeys(("renew", "poll", "sweep", "commit", "keep"), 0.0)
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
        self._metrics.failed(error)
        self._metrics.leading(False)
        self._link.close()
        self._reset()

    def close(self) -> None:
        """Resign, so that a standby takes over at once."""
        if self._lease is not None:
            try:
                self._keep(self._lease)
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
        self._reset()
        self._take_over()
        self._lease = lease
        self._metrics.leading(True)
        log.info("leading with epoch %s", lease.epoch)

    def _take_over(self) -> None:
        self._link.bring_scripts()  # for workers and producers whose users may only run them
        self._synchronise()
        self._choose()
        self._dispatching.restart()
        self._dispatching.bell_cursor = self._dispatching.bell_end()
        accounts = self._dispatching.accounts()
        self._scheduler.restore(accounts)
        self._begin_record(accounts)
        self._watch_active()
        self._pending += self._weights(look=True)
        self._pending += self._recoverer.start()
        self._pending += takeover.attempts(self._link, self._keys, self._recoverer.known)

    def _choose(self) -> None:
        """Use the policies that were chosen, and go on from what was learnt."""
        seed = self._settings.seed
        self._serial = serial = self._store.serial()
        try:
            self._document = self._store.read()
            self._scheduler = choices.built(self._started, self._document, seed)
        except (InvalidInput, UnknownPolicy) as error:
            log.warning("the policies that were chosen cannot be used: %s", error)
            self._document = PolicyDocument(serial.decode("ascii", "replace"))
        learnt_under, self._recalled = self._store.memory()
        if learnt_under != self._document.serial:
            self._recalled.pop("rollout", None)  # that of another canary
        for part in self._scheduler.memory.recall(self._recalled):
            log.warning("what was learnt by %s cannot be understood; it begins anew", part)

    def _look_at_choices(self, lease: Lease) -> None:
        """Change policies as a new leader would: everything is read from Redis again."""
        verdict = self._scheduler.rollout_ended
        if verdict and self._document.rollout is not None:
            changes = choices.ended(self._document, verdict, choices.arms_of(self._scheduler))
            log.warning("the canary has ended: %s", verdict)
            try:
                self._store.replace(self._document, **changes)
            except Conflict as error:
                log.warning("the end of the canary was not noted: %s", error)
        serial, recording = self._store.serial(), self._store.recording()
        if not recording:
            self._recorder.recording = b""
        if serial != self._serial or recording != self._recorder.recording:
            log.info("the policies were changed, or a recording begins")
            if self._outbox.uncommitted:
                self._outbox.commit(lease)
            self._keep(lease)
            self._reset()
            self._take_over()

    def _begin_record(self, accounts: Mapping[str, float]) -> None:
        """If somebody records: note all that we know now."""
        recording = self._store.recording()
        if recording:
            policies, slo = choices.chosen(self._started, self._document)
            begin = Beginning(
                secrets.token_hex(4), policies, self._settings.seed, _finite(slo.ttft_s),
                _finite(slo.tpot_s), dict(accounts), self._recalled,
            )  # fmt: skip
            self._recorder.begin(recording, begin)

    def _record(self, events: Sequence[Event], now: float, actions: Sequence[Action]) -> None:
        try:
            self._recorder.turn(events, now, actions)
        except StoreFull as error:
            log.warning("nothing is recorded just now: %s", error)
            self._recorder.recording = b""

    def _keep(self, lease: Lease) -> None:
        try:
            learnt = self._scheduler.memory.remember()
            self._store.keep(lease, self._document.serial, learnt, choices.told(self._started))
        except StoreFull as error:
            log.warning("what was learnt is not kept just now: %s", error)

    def _watch_active(self) -> None:
        """Watch the tenants with jobs; those that were active lately and have none are let go."""
        depths = self._dispatching.unread(self._dispatching.active())
        empty = [tenant for tenant, depth in depths.items() if depth == 0]
        for start in range(0, len(empty), MAX_STREAMS):
            for tenant in self._dispatching.retire(empty[start : start + MAX_STREAMS]):
                del depths[tenant]
        for tenant in depths:
            self._watch.add(tenant, self._now())

    def _now(self) -> float:
        """The server's time, as far as we can tell between two looks at it."""
        return self._clock.monotonic() + self._offset

    def _synchronise(self) -> None:
        seconds, micros = self._link.call("TIME")
        self._offset = int(seconds) + int(micros) / 1e6 - self._clock.monotonic()

    def _is_due(self, duty: str, every_s: float) -> bool:
        now = self._clock.monotonic()
        if now < self._due[duty]:
            return False
        self._due[duty] = now + every_s
        return True

    # -- a turn -----------------------------------------------------------------------------------

    def _turn(self, lease: Lease) -> None:
        self._duties(lease)
        read = self._read()
        started = self._clock.monotonic()
        # What was refused comes first: a worker that is lost by now never had it.
        events = self._outbox.news + self._pending
        self._pending, self._outbox.news = [], []
        events += self._understood(read)
        now = self._now()
        actions = self._scheduler.handle(events, now)
        self._record(events, now, actions)
        self._outbox.uncommitted = self._outbox.uncommitted or bool(read.events)
        sent = self._outbox.carry_out(lease, actions)
        if self._outbox.uncommitted and not sent and self._is_due("commit", COMMIT_S):
            self._outbox.commit(lease)
        self._metrics.decided(actions)
        self._metrics.turned(self._clock.monotonic() - started)

    def _duties(self, lease: Lease) -> None:
        """What is done by the clock and not by events; a fixed number of round trips each."""
        settings = self._settings
        if self._is_due("renew", settings.lease_s / 4):
            self._leadership.renew(lease)
        if self._is_due("poll", settings.poll_s):
            self._synchronise()
            self._leadership.clamp(tuple(self._recoverer.known), int(settings.heartbeat_s * 1000))
            self._pending += self._recoverer.poll(lease, self._clock.monotonic())
            self._metrics.recovered(self._recoverer.drain_counts())
            self._pending += self._measure()
            self._pending += self._deadlines.look(self._now(), self._full, self._scheduler.knows)
            self._pending += self._weights(look=False)
            self._retire()
            self._metrics.observe(self._scheduler.snapshot())
            self._metrics.canary(choices.arms_of(self._scheduler))
            self._look_at_choices(lease)
        if self._is_due("keep", KEEP_S):
            self._keep(lease)
        if self._is_due("sweep", settings.sweep_s):
            self._metrics.swept(self._janitor.sweep(lease, self._scheduler.workers))
            self._recoverer.clear_away(lease, self._janitor.strays)
            before = self._now() - self._settings.repair_grace_s
            held = self._janitor.held.items()
            self._pending += [AttemptsHeld(worker, what, before) for worker, what in held]
            self._pending += self._weights(look=True)

    def _weights(self, look: bool) -> list[Event]:
        return [TenantConfigured(t, weight) for t, weight in self._tenancy.news(look).items()]

    def _measure(self) -> list[Event]:
        """Learn how much waits beyond the window, for the tenants whose window is full."""
        full = [t for t in self._watch.tenants if self._scheduler.held(t) and not self._room(t)]
        self._full = bool(full)
        lengths = self._dispatching.unread(full)
        return [BacklogMeasured(t, max(0, n - self._scheduler.held(t))) for t, n in lengths.items()]

    def _retire(self) -> None:
        quiet = self._watch.idle(self._now(), self._settings.idle_s)
        quiet = [tenant for tenant in quiet if not self._scheduler.held(tenant)][:MAX_STREAMS]
        for tenant in self._dispatching.retire(quiet):
            del self._watch.tenants[tenant]

    def _room(self, tenant: str) -> bool:
        """Whether more of this tenant's jobs may be read into memory."""
        held, settings = self._scheduler.held(tenant), self._settings
        share = max(1, settings.max_held // max(1, len(self._watch.tenants)))
        return held < min(settings.window, share) and (not held or self._byte_room(tenant) > 0)

    def _byte_room(self, tenant: str) -> int:
        """Return how many more bytes of prefixes of this tenant may be read into memory."""
        share = HELD_BYTES // 2 // max(1, len(self._watch.tenants))
        return share - HASH_BYTES * self._scheduler.hashes(tenant)

    def _read(self) -> Turn:
        block_s = min(self._settings.block_s, self._settings.lease_s / 4, self._settings.poll_s)
        if self._pending or self._outbox.news:
            block_s = 0.0
        tenants = self._watch.page(self._room)
        if (
            len(self._watch.tenants) > MAX_STREAMS
            or self._scheduler.queued
            or self._outbox.uncommitted
        ):
            block_s = min(block_s, COMMIT_S)  # others wait for their turn, or a hold may end
        wake = self._scheduler.next_wake()
        if wake is not None:
            block_s = max(0.0, min(block_s, wake - self._now()))
        return self._dispatching.read(tenants, self._settings.batch, int(block_s * 1000))

    def _understood(self, read: Turn) -> list[Event]:
        now = self._now()
        events: list[Event] = []
        for entry in read.events:
            events += self._reports(entry)
        for tenant in read.rung:
            self._watch.add(tenant, now)
        long: list[Arrivals] = []
        for tenant, entries in read.arrivals.items():
            self._watch.add(tenant, now)
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

    def _reports(self, entry: Entry) -> list[Event]:
        told, junk = inbox.reports(entry)
        for event, report in told:
            self._metrics.reported(event, report)
        if junk and not told:
            self._outbox.set_aside(self._keys.events, [(entry, junk[0])])
        elif junk:  # the entry stays until what it tells is committed
            self._outbox.note(self._keys.events, entry, junk)
        return [event for event, _ in told]


def _finite(limit: float) -> float | None:
    return None if limit == inf else limit
