"""Carrying out what the scheduler decides: orders, moves, the commit, and terminal records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parallax.broker.link.connection import Link
from parallax.broker.link.errors import Spoilt
from parallax.broker.store.codec import Report, decode_about
from parallax.broker.store.dispatch import Dispatching, Entry, Lease, Reading
from parallax.broker.store.intake import Ending, Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.rescue_calls import Wanted
from parallax.core.bisection import each
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.core.words import Routed, Stolen, Terminated
from parallax.scheduling.actions import (
    Action,
    Cancel,
    Dispatch,
    Expire,
    Reject,
    SaveAccounts,
    Steal,
)
from parallax.scheduling.events import DispatchRefused, Event
from parallax.services.recoverer import Recoverer
from parallax.telemetry.scheduling import SchedulingMetrics

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outbox:
    """The leader's hands. What the store refuses comes back as `news` for the next turn."""

    link: Link
    keys: Keys
    dispatching: Dispatching
    intake: Intake
    rescue: Rescue
    recoverer: Recoverer
    metrics: SchedulingMetrics
    batch: int
    progressed: Callable[[], None] = lambda: None  # called after each bounded piece of work
    news: list[Event] = field(default_factory=list)
    uncommitted: bool = False  # balances or events wait for a commit
    _accounts: dict[str, float] = field(default_factory=dict)

    def carry_out(
        self, lease: Lease, actions: Sequence[Action], then: Callable[[], Reading]
    ) -> bool:
        """Do all of it but a commit that dispatches nothing; say whether something was sent.

        What is to be read `then` leaves with the last commit.
        """
        # Before the commit drops the events that they follow from: a new leader would do it again.
        cancels = [(a.worker, a.job_id, a.attempt) for a in actions if type(a) is Cancel]
        self.rescue.stop(lease, cancels)
        self._steal(lease, [a for a in actions if type(a) is Steal])
        endings: list[Ending] = []
        for action in actions:
            if type(action) is SaveAccounts:
                self._accounts.update(action.accounts)
                self.uncommitted = True
            elif type(action) is Reject or type(action) is Expire:
                endings.append(_ending(action))
        dispatches = [a for a in actions if type(a) is Dispatch]
        for start in range(0, len(dispatches), self.batch):
            end = start + self.batch
            last = end >= len(dispatches)
            self.commit(lease, dispatches[start:end], then() if last else None)
        self._end(lease, endings)
        return bool(dispatches)

    def commit(
        self, lease: Lease, part: Sequence[Dispatch] = (), then: Reading | None = None
    ) -> None:
        """Send these, save the balances, drop the events they rest on: one step."""
        if not part:
            self._commit(lease, part)
            return
        answers = each(part, lambda some: self._commit(lease, some, then), Spoilt)
        for dispatch, word in zip(part, answers, strict=True):
            if isinstance(word, Spoilt):
                self._commit(lease, ())  # if that fails too, it is not for this dispatch
                self._spoilt(lease, dispatch, word)
            elif word is not Routed.OK:
                self._refused(lease, dispatch, word)

    def _commit(
        self, lease: Lease, part: Sequence[Dispatch], then: Reading | None = None
    ) -> list[Routed]:
        caps: Mapping[str, int] = {d.worker: self.recoverer.cap(d.worker) for d in part}
        answers = self.dispatching.commit(lease, part, caps, self._accounts, then)
        self._accounts, self.uncommitted = {}, False
        self.progressed()
        return answers

    def _spoilt(self, lease: Lease, dispatch: Dispatch, error: Spoilt) -> None:
        """The store stumbles over this job alone: it is dead-lettered, and the others go on."""
        self.news.append(DispatchRefused(dispatch.job_id, dispatch.worker, requeue=False))
        if not dispatch.hedge:  # else its first attempt goes on
            self._dead(lease, dispatch.tenant, dispatch.entry, dispatch.job_id, str(error))

    def set_aside(self, stream: str, junk: Sequence[tuple[Entry, str]]) -> None:
        """Move entries that cannot be understood to the dead letters."""
        if junk:
            self.metrics.malformed(self.rescue.quarantine(stream, junk))
            log.warning("set aside %d entries of %s: %s", len(junk), stream, junk[0][1])

    def note(self, stream: str, entry: Entry, reasons: Sequence[str]) -> None:
        """Write a dead letter on parts of an entry that cannot be understood; the rest was."""
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        self.rescue.note(stream, entry, f"{reasons[0]}{others}")
        self.metrics.malformed(len(reasons))

    def _steal(self, lease: Lease, steals: Sequence[Steal]) -> None:
        """Carry out moves; the events that the store writes say which of them were made."""
        pairs: dict[tuple[str, str], list[Wanted]] = {}
        for steal in steals:
            wanted = pairs.setdefault((steal.victim, steal.thief), [])
            wanted.append((steal.job_id, steal.attempt, steal.model))
        for (victim, thief), wanted in pairs.items():
            cap = self.recoverer.cap(thief)
            words = self.rescue.steal(lease, victim, thief, wanted, cap)
            self.metrics.stolen(words)
            moved = [one[0] for one, word in zip(wanted, words, strict=True) if word is Stolen.OK]
            self.metrics.pulse.stolen(moved, victim, thief)

    def _refused(self, lease: Lease, dispatch: Dispatch, word: Routed) -> None:
        self.metrics.refused(word)
        requeue = word in {Routed.NOWORKER, Routed.BUSY}
        self.news.append(DispatchRefused(dispatch.job_id, dispatch.worker, requeue))
        if word is Routed.EXPIRED:
            late = Expire(dispatch.job_id, dispatch.tenant, dispatch.entry)
            self._end(lease, [replace(_ending(late), worker=dispatch.prefilled_by)])
        elif word is Routed.ORPHAN:
            self._orphaned(lease, dispatch.tenant, dispatch.entry, dispatch.job_id)

    def _orphaned(self, lease: Lease, tenant: str, entry: str, job_id: str) -> None:
        why = "orphan: there is no record of this job"
        self._dead(lease, tenant, entry, job_id, why)

    def _dead(self, lease: Lease, tenant: str, entry: str, job_id: str, why: str) -> None:
        """Set the entry aside, and end the job if there is anything of its record."""
        if entry:  # else it was restored, and where it had waited is not known
            self.set_aside(self.keys.arrivals(tenant), [(Entry(entry, [job_id.encode()]), why)])
        self._end(lease, [Ending(job_id, tenant, Outcome.DEAD, Report(error=why[:500]))])

    def _end(self, lease: Lease, endings: Sequence[Ending]) -> None:
        """Write the terminal records of jobs that never reached a worker."""
        if not endings:
            return
        about = self.link.calls([("HGET", self.keys.job(e.job_id), "about") for e in endings])
        told = [
            replace(ending, reply=_reply(text)) for ending, text in zip(endings, about, strict=True)
        ]
        answers = each(told, lambda some: self.intake.terminate(some, lease.token), Spoilt)
        for ending, answer in zip(told, answers, strict=True):
            if isinstance(answer, Spoilt):
                log.error("job %s cannot be ended; the janitor will try: %s", ending.job_id, answer)
                continue
            word, _ = answer
            if word is Terminated.OK:
                self.metrics.ended(ending.tenant, ending.outcome)
            elif (
                word is Terminated.NOT_DUE
            ):  # our clock ran ahead of the server's: look at it again
                self.dispatching.go_back(ending.tenant)
            elif word is Terminated.UNKNOWN and ending.entry:
                self._orphaned(lease, ending.tenant, ending.entry, ending.job_id)


def _reply(about: bytes | None) -> str:
    try:
        return decode_about(about).reply
    except InvalidInput:
        return ""  # there is no such record: nobody waits for it


def _ending(action: Reject | Expire) -> Ending:
    if type(action) is Reject:
        reason, wait_s = action.reason, action.retry_after_s
        report = Report(error=f"rejected: {reason}", retry_after_s=wait_s, reason=reason)
        return Ending(action.job_id, action.tenant, Outcome.REJECTED, report, entry=action.entry)
    error = "expired: the deadline passed while the job waited"
    report = Report(error=error, reason=Reason.DEADLINE)
    return Ending(action.job_id, action.tenant, Outcome.EXPIRED, report, entry=action.entry)
