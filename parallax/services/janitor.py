"""The janitor: the net below the net. Finds what no healthy path leaves behind.

Each sweep does a bounded amount of work and goes on where the last one stopped, so that it costs
the same in calm and in storm:
* open jobs that nobody touched for long are looked for, and re-queued if they are nowhere, or
  dead-lettered if that was their last attempt;
* entries in workers' streams that no longer belong to their job are deleted;
* tenants whose stream has entries nobody rang for are made active;
* streams of workers that are not registered are found, for the recoverer to clear away.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from parallax.broker.attempts import NOBODY, Assignment, decode_assignment
from parallax.broker.codec import Report
from parallax.broker.connection import Link, Spoilt
from parallax.broker.dispatching import Entry, Lease
from parallax.broker.intake import Ending, Intake
from parallax.broker.keys import Keys
from parallax.broker.membership import MOST_HELD, Membership
from parallax.broker.misfits import name_of
from parallax.broker.rescue import Rescue
from parallax.broker.results import Record, Results
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.core.settings import SchedulerSettings

_PAGE = 200
log = logging.getLogger(__name__)


class Janitor:
    """Sweeps a page of each at a time."""

    def __init__(
        self, link: Link, keys: Keys, rescue: Rescue, intake: Intake, settings: SchedulerSettings
    ) -> None:
        self._membership = Membership(link, keys)
        self._results = Results(link, keys)
        self._rescue, self._intake = rescue, intake
        self._settings = settings
        self._scan = "0"
        self.held: dict[str, frozenset[tuple[str, int]]] = {}  # what lay in workers' streams
        self.strays: list[str] = []  # workers that have a stream and are not registered

    def sweep(self, lease: Lease, workers: Sequence[str]) -> Counter[str]:
        """Take one turn; return what was found, by word."""
        found: Counter[str] = Counter()
        self._membership.set_aside()
        self.held.clear()
        found.update(self._repair(lease))
        for worker in workers:
            found.update(self._scrub(worker))
        self._scan, tenants, self.strays = self._rescue.scan(self._scan)
        found["rung"] = self._rescue.wake(tenants)
        found["stray"] = len(self.strays)
        return found

    def _repair(self, lease: Lease) -> list[str]:
        page = self._rescue.oldest_open(_PAGE)
        words = self._rescue.repair(lease, page, int(self._settings.repair_grace_s * 1000))
        spent = [job for job, word in zip(page, words, strict=True) if word == "spent"]
        records = [record for record in self._results.records(spent) if record is not None]
        self._intake.terminate([_lost(record) for record in records], lease.token)
        self._bury([job for job, word in zip(page, words, strict=True) if word == "spoilt"], lease)
        # Oldest first: what was looked at moved to the end, so each sweep starts at the front.
        return [word for word in words if word != "young"]

    def _bury(self, spoilt: Sequence[str], lease: Lease) -> None:
        """Dead-letter jobs whose record nobody can understand: each by itself, they are few."""
        for job in spoilt:
            holders: list[str] = []
            for _ in range(2):  # the store says who holds it, if anybody does
                try:
                    ((word, detail),) = self._intake.terminate(
                        [_spoilt(job, *holders)], lease.token
                    )
                except Spoilt as error:
                    log.warning("job %s can be neither run nor ended: %s", job, error)
                    break
                if word != "moved":
                    break
                holders = [name_of(name.encode()) for name in detail.split(" ")[:2]]

    def _scrub(self, worker: str) -> list[str]:
        held: list[Assignment] = []
        for entry, fields in self._membership.held(worker):
            try:
                held.append(decode_assignment(Entry(entry, fields)))
            except InvalidInput:
                continue  # the worker sets it aside
        if len(held) < MOST_HELD:  # else there may be more
            self.held[worker] = frozenset((a.job_id, int(a.attempt)) for a in held)
        words = self._rescue.scrub(worker, held[:_PAGE], int(self._settings.repair_grace_s * 1000))
        return [word for word in words if word == "removed"]


def _spoilt(job: str, worker: str = "", rival: str = "") -> Ending:
    report = Report(worker=worker, error="its record cannot be understood")
    return Ending(job, NOBODY, Outcome.DEAD, report, worker, rival=rival)


def _lost(record: Record) -> Ending:
    error = f"its worker {record.worker} was lost during attempt {record.attempts}, the last"
    reason = Reason.ATTEMPTS_USED_UP
    report = Report(record.tenant, record.worker, record.attempts, error=error, reason=reason)
    holders = (record.worker, record.reply, record.rival)
    return Ending(record.job_id, record.tenant, Outcome.DEAD, report, *holders)
