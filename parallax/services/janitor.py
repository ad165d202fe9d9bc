"""The janitor: the net below the net. Finds what no healthy path leaves behind.

A sweep is done in pieces, one between two turns of the leader, each of bounded size:
* open jobs that nobody touched for long are looked for, and re-queued if they are nowhere, or
  dead-lettered if that was their last attempt; one whose answer broke off has failed. The more jobs
  are open, the more pieces: all of them are seen within a minute, as long as there are no more than
  240,000;
* entries in workers' streams that no longer belong to their job are deleted;
* tenants whose stream has entries nobody rang for are made active;
* streams of workers that are not registered are found, for the recoverer to clear away.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from parallax.broker.link.connection import Link
from parallax.broker.link.errors import Spoilt
from parallax.broker.store.attempts import NOBODY, Assignment, decode_assignment
from parallax.broker.store.codec import Report
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.intake import Ending, Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import MOST_HELD, Membership
from parallax.broker.store.misfits import name_of
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.rescue_calls import Found
from parallax.broker.store.results import Record, Results
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.pages import pages
from parallax.core.reasons import Reason
from parallax.core.settings import SchedulerSettings
from parallax.core.words import Repaired, Scrubbed, Terminated, Woken

log = logging.getLogger(__name__)

#: Entries of a worker's stream that are scrubbed in a sweep.
_PAGE = 200

#: Open jobs in one piece, and at least and at most in one sweep per second of its interval.
_JOBS, _LEAST, _MOST_PER_S = 1_000, 200, 4_000
#: All open jobs are looked at in so many seconds.
_ROUND_S = 60.0
#: Workers in one piece.
_WORKERS = 100
#: Most jobs without an understandable record that are ended in one piece; two round trips each.
_BURIED = 20
#: What stays where it is among the open jobs, oldest first: the next piece looks behind it.
_STAY = frozenset({Repaired.HELD, Repaired.MOVED, Repaired.SPOILT})


@dataclass(slots=True)
class Findings:
    """The findings of one slice of a sweep."""

    words: Counter[str] = field(default_factory=Counter)
    #: What lies in workers' streams: (job, number of the attempt), for those that were read whole.
    held: dict[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    #: Tenants with entries in their streams, and jobs that wait there, with their entries.
    tenants: list[str] = field(default_factory=list)
    waiting: list[Found] = field(default_factory=list)
    #: Workers that have a stream and are not registered.
    strays: list[str] = field(default_factory=list)


class Janitor:
    """Sweeps, a piece at a time."""

    def __init__(
        self, link: Link, keys: Keys, rescue: Rescue, intake: Intake, settings: SchedulerSettings
    ) -> None:
        self._membership = Membership(link, keys)
        self._results = Results(link, keys)
        self._rescue, self._intake = rescue, intake
        self._settings = settings
        self._scan = "0"

    def sweep(self, lease: Lease, workers: Sequence[str]) -> Iterator[Findings]:
        """Yield the findings after each slice of a sweep; a few round trips each."""
        self._membership.set_aside()
        yield from self._repair(lease)
        for some in pages(workers, _WORKERS):
            yield self._scrub(some)
        yield self._look_around()

    def _repair(self, lease: Lease) -> Iterator[Findings]:
        # Oldest first: checked jobs moved to the end, so each slice starts at the front.
        budget, skip = self._budget(self._rescue.open_jobs()), 0
        while budget > 0:
            page = self._rescue.oldest_open(min(_JOBS, budget), skip)
            budget -= _JOBS
            found = self._rescue.looked_for(lease, page, int(self._settings.repair_grace_s * 1000))
            self._bury([one.job_id for one in found if one.word is Repaired.SPENT], lease)
            broken = [one.job_id for one in found if one.word is Repaired.BROKEN]
            self._bury(broken, lease, broken=True)
            self._bury_spoilt([one.job_id for one in found if one.word is Repaired.SPOILT], lease)
            old = [one for one in found if one.word is not Repaired.YOUNG]
            waiting = [one for one in old if one.word is Repaired.PRESENT and one.detail]
            self._rescue.remind([one.job_id for one in waiting])
            repaired = [one for one in old if one.word is Repaired.OK]
            if repaired:
                log.warning(
                    "%d jobs were nowhere and are queued again, %s among them",
                    len(repaired),
                    repaired[0].job_id,
                )
            tenants = [one.tenant for one in repaired]
            yield Findings(Counter(one.word for one in old), tenants=tenants, waiting=waiting)
            skip += sum(one.word in _STAY for one in old)
            if not old:
                break  # the others are younger still

    def _budget(self, jobs: int) -> int:
        """Return how many open jobs this sweep looks at."""
        sweep_s = self._settings.sweep_s
        wanted = ceil(jobs * sweep_s / _ROUND_S)
        return max(_LEAST, min(wanted, ceil(_MOST_PER_S * sweep_s)))

    def _bury(self, jobs: Sequence[str], lease: Lease, *, broken: bool = False) -> None:
        if not jobs:
            return
        records = [record for record in self._results.records(jobs) if record is not None]
        self._intake.terminate([_lost(record, broken) for record in records], lease.token)

    def _bury_spoilt(self, spoilt: Sequence[str], lease: Lease) -> None:
        """Dead-letter jobs whose record nobody can understand: each by itself, they are few."""
        for job in spoilt[:_BURIED]:
            holders: list[str] = []
            for _ in range(2):  # the store says who holds it, if anybody does
                try:
                    ((word, detail),) = self._intake.terminate(
                        [_spoilt(job, *holders)], lease.token
                    )
                except Spoilt as error:
                    log.warning("job %s can be neither run nor ended: %s", job, error)
                    break
                if word is not Terminated.MOVED:
                    break
                holders = [name_of(name.encode()) for name in detail.split(" ")[:2]]

    def _scrub(self, workers: Sequence[str]) -> Findings:
        findings, attempts = Findings(), dict[str, list[Assignment]]()
        for worker, entries in self._membership.held_by(workers).items():
            held = attempts[worker] = list(_understood(entries))
            if len(held) < MOST_HELD:  # else there may be more
                findings.held[worker] = frozenset((a.job_id, int(a.attempt)) for a in held)
        some = {worker: held[:_PAGE] for worker, held in attempts.items()}
        words = self._rescue.scrub_all(some, int(self._settings.repair_grace_s * 1000))
        findings.words[Scrubbed.REMOVED] = words.count(Scrubbed.REMOVED)
        return findings

    def _look_around(self) -> Findings:
        self._scan, tenants, strays = self._rescue.scan(self._scan)
        woken = self._rescue.wake(tenants)
        loud = [tenant for tenant, word in woken.items() if word is not Woken.QUIET]
        findings = Findings(strays=strays, tenants=loud)
        findings.words[Woken.RUNG] = list(woken.values()).count(Woken.RUNG)
        findings.words["stray"] = len(strays)
        return findings


def _understood(entries: Sequence[tuple[str, Sequence[bytes]]]) -> Iterator[Assignment]:
    for entry, fields in entries:
        try:
            yield decode_assignment(Entry(entry, fields))
        except InvalidInput:
            continue  # the worker sets it aside


def _spoilt(job: str, worker: str = "", hedge_worker: str = "") -> Ending:
    report = Report(worker=worker, error="its record cannot be understood")
    return Ending(job, NOBODY, Outcome.DEAD, report, worker, hedge_worker=hedge_worker)


def _lost(record: Record, broken: bool) -> Ending:
    error = f"its worker {record.worker} was lost during attempt {record.attempts}"
    if broken:
        outcome, reason = Outcome.FAILED, Reason.STREAM_BROKEN
        error += ", after a part of the answer was sent"
    else:
        outcome, reason = Outcome.DEAD, Reason.ATTEMPTS_USED_UP
        error += ", the last"
    report = Report(record.tenant, record.worker, record.attempts, error=error, reason=reason)
    holders = (record.worker, record.reply, record.hedge_worker)
    return Ending(record.job_id, record.tenant, outcome, report, *holders)
