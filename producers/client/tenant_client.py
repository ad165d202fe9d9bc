"""One tenant's view: its own jobs, and no trace of anybody else's.

Whoever speaks for a tenant (a gateway that has checked its key) speaks through this. The ids that a
tenant chooses are its own: what is stored is a digest of tenant and id, so two tenants that choose
the same id have two jobs that cannot meet. A job of another tenant and one that never was are
therefore the same thing from here: no record, `unknown` to cancel, nothing to follow, and free to
be submitted. There is no second way to see a job that only a check would have to guard; the tenant
in the record is checked all the same.

Operators see these jobs under their stored ids (`stored_id`), through `Client` or `Cells`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import msgspec

from parallax.broker.store.intake import Receipt
from parallax.broker.store.results import Notice, Record
from parallax.core.errors import InvalidInput
from parallax.core.model import Job, check_name
from parallax.core.words import Cancelled
from parallax.producers.client.completion import Completion
from parallax.producers.client.interface import WAIT_S, Jobs
from parallax.producers.client.stream import Stream
from parallax.services.clock import SystemClock


def stored_id(tenant: str, job_id: str) -> str:
    """Return the id under which a tenant's job is stored; raises InvalidInput for a bad name."""
    check_name("tenant", tenant)
    check_name("job id", job_id)
    # Names have no '/', so no two pairs make the same text; 128 bits are beyond guessing a second.
    return f"t-{hashlib.blake2b(f'{tenant}/{job_id}'.encode(), digest_size=16).hexdigest()}"


class TenantClient:
    """Submits, waits, looks and cancels for one tenant, over a `Client` or `Cells`.

    Many of them may share one client, in threads of their own: one of those who wait reads its one
    inbox, and each is told at once of its own jobs.
    """

    def __init__(self, client: Jobs, tenant: str) -> None:
        check_name("tenant", tenant)
        self._client, self.tenant = client, tenant

    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None,
    ) -> list[Receipt]:  # fmt: skip
        """Offer jobs of this tenant; raises InvalidInput, before any is sent, for another's."""
        for job in jobs:
            if job.tenant != self.tenant:
                raise InvalidInput(f"tenant of job {job.id}", job.tenant, self.tenant)
        stored = [replace(job, id=self._stored(job.id)) for job in jobs]
        known = {self._stored(job_id): body for job_id, body in (bodies or {}).items()}
        receipts = self._client.submit(stored, own_streams=own_streams, bodies=known or None)
        return [
            msgspec.structs.replace(receipt, job_id=job.id)
            for job, receipt in zip(jobs, receipts, strict=True)
        ]

    def wait(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one."""
        names = {self._stored(job_id): job_id for job_id in job_ids}
        for ended in self._client.wait(names, timeout_s):
            if ended.report.tenant in {"", self.tenant}:
                yield replace(ended, job_id=names[ended.job_id])

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        """Return what a job with a stream of its own told after `cursor`, and the new cursor."""
        stored = self._stored(job_id)
        cursor, notices = self._client.follow(stored, cursor, block_ms)
        return cursor, [
            msgspec.structs.replace(notice, job_id=job_id)
            for notice in notices
            if notice.job_id == stored
        ]

    def stream(self, job: Job, body: bytes = b"", *, timeout_s: float = WAIT_S) -> Stream:
        """Submit a job; return its answer as it is made. See `Client.stream`."""
        return Stream(self, replace(job, stream=True), body, timeout_s, SystemClock(), Random())

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that were to keep them; None where this tenant has none."""
        own = [record is not None for record in self.records(job_ids)]
        found = self._client.answers([self._stored(job_id) for job_id in job_ids])
        return [answer if is_own else None for answer, is_own in zip(found, own, strict=True)]

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of jobs; None where this tenant has none (any more)."""
        found = self._client.records([self._stored(job_id) for job_id in job_ids])
        return [
            replace(record, job_id=job_id) if record and record.tenant == self.tenant else None
            for job_id, record in zip(job_ids, found, strict=True)
        ]

    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job; return ok, late (it had ended before) or unknown."""
        if self.records([job_id])[0] is None:
            return Cancelled.UNKNOWN
        return self._client.cancel(self._stored(job_id))

    def _stored(self, job_id: str) -> str:
        return stored_id(self.tenant, job_id)
