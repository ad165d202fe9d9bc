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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from parallax.broker.codec import Report, decode_about
from parallax.broker.connection import Link
from parallax.broker.dispatching import Dispatching, Entry, Lease, Turn
from parallax.broker.intake import Ending, Intake
from parallax.broker.keys import Keys
from parallax.broker.limits import Limits
from parallax.broker.membership import Leadership, Membership
from parallax.broker.rescue import Rescue
from parallax.broker.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.core.lifecycle import Outcome
from parallax.core.settings import SchedulerSettings
from parallax.scheduling.actions import (
    Action,
    Cancel,
    Dispatch,
    Expire,
    Reject,
    SaveAccounts,
    Steal,
)
from parallax.scheduling.events import (
    BacklogMeasured,
    DispatchRefused,
    Event,
    JobArrived,
    TenantConfigured,
)
from parallax.scheduling.scheduler import Scheduler
from parallax.services import inbox, takeover
from parallax.services.janitor import Janitor
from parallax.services.recoverer import Recoverer
from parallax.telemetry.scheduling import SchedulingMetrics

log = logging.getLogger(__name__)

#: Most streams in one read; more active tenants than that take turns.
MAX_STREAMS = 512

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
        build: Callable[[], Scheduler],
        clock: Clock,
        metrics: SchedulingMetrics,
        limits: Limits | None = None,
    ) -> None:
        self._link, self._keys, self._settings, self._clock = link, keys, settings, clock
        self._build, self._metrics = build, metrics
        limits = limits or Limits()
        self._leadership = Leadership(link, keys, candidate, int(settings.lease_s * 1000))
        self._dispatching = Dispatching(link, keys)
        self._intake = Intake(link, keys, limits)
        self._rescue = Rescue(link, keys, limits)
        self._recoverer = Recoverer(Membership(link, keys), self._rescue, settings)
        self._janitor = Janitor(link, keys, self._rescue, self._intake, settings)
        self._lease: Lease | None = None
        self._reset()

    def _reset(self) -> None:
        self._scheduler = self._build()
        self._watch = Watch()
        self._tenancy = Tenancy(self._link, self._keys)
        self._pending: list[Event] = []
        self._accounts: dict[str, float] = {}
        self._uncommitted = False
        self._due = dict.fromkeys(("renew", "poll", "sweep", "commit"), 0.0)
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

    def recover(self, error: ParallaxError) -> None:
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
        self._synchronise()
        self._dispatching.restart()
        self._dispatching.bell_cursor = self._dispatching.bell_end()
        self._scheduler.restore(self._dispatching.accounts())
        self._watch_active()
        self._pending += self._weights(look=True)
        self._pending += self._recoverer.start(self._now())
        self._pending += takeover.attempts(self._link, self._keys, self._recoverer.known)

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
        events, self._pending = self._pending, []
        events += self._understood(read)
        actions = self._scheduler.handle(events, self._now())
        self._uncommitted = self._uncommitted or bool(read.events)
        self._carry_out(lease, actions)
        self._metrics.decided(actions, sum(type(event) is JobArrived for event in events))
        self._metrics.turned(self._clock.monotonic() - started)

    def _duties(self, lease: Lease) -> None:
        """What is done by the clock and not by events; a fixed number of round trips each."""
        settings = self._settings
        if self._is_due("renew", settings.lease_s / 4):
            self._leadership.renew(lease)
        if self._is_due("poll", settings.poll_s):
            self._synchronise()
            self._leadership.clamp(tuple(self._recoverer.known), int(settings.heartbeat_s * 1000))
            self._pending += self._recoverer.poll(lease, self._now())
            self._metrics.recovered(self._recoverer.drain_counts())
            self._pending += self._measure()
            self._pending += self._weights(look=False)
            self._retire()
            self._metrics.observe(self._scheduler.snapshot())
        if self._is_due("sweep", settings.sweep_s):
            self._metrics.swept(self._janitor.sweep(lease, self._scheduler.workers))
            self._pending += self._weights(look=True)

    def _weights(self, look: bool) -> list[Event]:
        return [TenantConfigured(t, weight) for t, weight in self._tenancy.news(look).items()]

    def _measure(self) -> list[Event]:
        """Learn how much waits beyond the window, for the tenants whose window is full."""
        full = [t for t in self._watch.tenants if self._scheduler.held(t) and not self._room(t)]
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
        return held < min(settings.window, share)

    def _read(self) -> Turn:
        block_s = min(self._settings.block_s, self._settings.lease_s / 4, self._settings.poll_s)
        if self._pending:
            block_s = 0.0
        tenants = self._watch.page(self._room)
        if len(self._watch.tenants) > MAX_STREAMS or self._scheduler.queued or self._uncommitted:
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
        for tenant, entries in read.arrivals.items():
            self._watch.add(tenant, now)
            arrived, junk = inbox.arrivals(tenant, entries)
            events += arrived
            self._set_aside(self._keys.arrivals(tenant), junk)
        return events

    def _reports(self, entry: Entry) -> list[Event]:
        events: list[Event] = []
        try:
            for event, report in inbox.reports(entry):
                events.append(event)
                self._metrics.reported(event, report)
        except InvalidInput as error:
            self._set_aside(self._keys.events, [(entry, str(error))])
        return events

    def _set_aside(self, stream: str, junk: Sequence[tuple[Entry, str]]) -> None:
        if junk:
            self._metrics.malformed(self._rescue.quarantine(stream, junk))
            log.warning("set aside %d entries of %s: %s", len(junk), stream, junk[0][1])

    # -- carrying out -----------------------------------------------------------------------------

    def _carry_out(self, lease: Lease, actions: list[Action]) -> None:
        dispatches = [a for a in actions if type(a) is Dispatch]
        # Before the commit drops the events that they follow from: a new leader would do it again.
        cancels = [(a.worker, a.job_id, a.attempt) for a in actions if type(a) is Cancel]
        self._rescue.stop(lease, cancels)
        self._steal(lease, [a for a in actions if type(a) is Steal])
        endings: list[Ending] = []
        for action in actions:
            if type(action) is SaveAccounts:
                self._accounts.update(action.accounts)
                self._uncommitted = True
            elif type(action) is Reject or type(action) is Expire:
                endings.append(_ending(action))
        for start in range(0, len(dispatches), self._settings.batch):
            self._commit(lease, dispatches[start : start + self._settings.batch])
        if self._uncommitted and self._is_due("commit", COMMIT_S):
            self._commit(lease, [])
        self._end(lease, endings)

    def _steal(self, lease: Lease, steals: list[Steal]) -> None:
        """Carry out moves; the events that the store writes say which of them were made."""
        pairs: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for steal in steals:
            wanted = pairs.setdefault((steal.victim, steal.thief), [])
            wanted.append((steal.job_id, steal.attempt))
        for (victim, thief), wanted in pairs.items():
            cap = self._recoverer.cap(thief)
            self._metrics.stolen(self._rescue.steal(lease, victim, thief, wanted, cap))

    def _commit(self, lease: Lease, part: list[Dispatch]) -> None:
        caps = {d.worker: self._recoverer.cap(d.worker) for d in part}
        answers = self._dispatching.commit(lease, part, caps, self._accounts)
        self._accounts, self._uncommitted = {}, False
        for dispatch, word in zip(part, answers, strict=True):
            if word != "ok":
                self._refused(lease, dispatch, word)

    def _refused(self, lease: Lease, dispatch: Dispatch, word: str) -> None:
        self._metrics.refused(word)
        requeue = word in {"noworker", "busy"}
        self._pending.append(DispatchRefused(dispatch.job_id, dispatch.worker, requeue))
        if word == "expired":
            late = Expire(dispatch.job_id, dispatch.tenant, dispatch.entry)
            self._end(lease, [replace(_ending(late), worker=dispatch.prefilled_by)])
        elif word == "orphan":
            stream = self._keys.arrivals(dispatch.tenant)
            entry = Entry(dispatch.entry, [dispatch.job_id.encode()])
            self._set_aside(stream, [(entry, "orphan: there is no record of this job")])

    def _end(self, lease: Lease, endings: list[Ending]) -> None:
        """Write the terminal records of jobs that never reached a worker."""
        if not endings:
            return
        about = self._link.calls([("HGET", self._keys.job(e.job_id), "about") for e in endings])
        told = [
            replace(ending, reply=_reply(text)) for ending, text in zip(endings, about, strict=True)
        ]
        for ending, (word, _) in zip(told, self._intake.terminate(told, lease.token), strict=True):
            if word == "ok":
                self._metrics.ended(ending.tenant, ending.outcome)
            elif word == "not_due":  # our clock ran ahead of the server's: look at it again
                self._dispatching.cursors.pop(ending.tenant, None)


def _reply(about: bytes | None) -> str:
    try:
        return decode_about(about).reply
    except InvalidInput:
        return ""  # there is no such record: nobody waits for it


def _ending(action: Reject | Expire) -> Ending:
    if type(action) is Reject:
        report = Report(error=f"rejected: {action.reason}", retry_after_s=action.retry_after_s)
        return Ending(action.job_id, action.tenant, Outcome.REJECTED, report)
    report = Report(error="expired: the deadline passed while the job waited")
    return Ending(action.job_id, action.tenant, Outcome.EXPIRED, report)
