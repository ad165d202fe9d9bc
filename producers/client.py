"""The producer's view: submit jobs, wait for their ends, look at records, cancel."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from parallax.broker.connection import Link, repeated
from parallax.broker.intake import Ending, Intake, Receipt
from parallax.broker.keys import Keys
from parallax.broker.limits import Limits
from parallax.broker.results import Notice, Record, Results
from parallax.broker.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, check_name
from parallax.producers.completion import Completion, Waiting
from parallax.services.clock import SystemClock

__all__ = ["Client", "Completion"]

#: The inbox is cut back after so many notices have been read from it.
KEPT = 1_000


class Client:
    """Submits and waits over two connections. Not safe to share between threads.

    Every client has an inbox: one stream that is told how its jobs end. The inbox is a hint that
    makes waiting cheap; the truth is the job's record, which `wait` looks at when the inbox is
    silent, so a lost hint delays an answer and never loses it.

    What jobs' prefixes are called is salted by tenant, so that no tenant learns from what it finds
    cached which prompts others have sent. With `shared_prefixes` they are taken as they are: for
    who replays a trace, in which one name means one text whoever sent it.
    """

    def __init__(
        self,
        url: str,
        cell: str = "main",
        limits: Limits | None = None,
        clock: Clock | None = None,
        *,
        shared_prefixes: bool = False,
    ) -> None:
        self._keys = Keys(cell)
        self._clock: Clock = clock or SystemClock()
        self._random = Random()
        self._link, self._reader = Link.to(url), Link.to(url)
        self._intake = Intake(self._link, self._keys, limits, shared_prefixes)
        self._results = Results(self._link, self._keys)
        self._news = Results(self._reader, self._keys)
        self.inbox = f"inbox-{secrets.token_hex(8)}"
        self._cursor, self._read = "", 0
        self._waits = False  # whether anything was told to write to the inbox

    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, times: int = 5,
    ) -> list[Receipt]:  # fmt: skip
        """Offer jobs; return a receipt for each. Repeats itself after a lost reply.

        With `own_streams` each job reports on a stream of its own (`follow`), else all of them to
        this client's inbox (`wait`). Raises Unreachable when Redis was silent `times` times: it is
        unknown then whether the jobs were accepted, and submitting them again is safe.
        """
        reply = None if own_streams else self.inbox
        self._waits = self._waits or not own_streams
        return repeated(
            lambda: self._intake.submit(jobs, reply, bodies), self._clock, self._random, times
        )

    def news(self, block_ms: int) -> list[Completion]:
        """Wait up to `block_ms` for ends of jobs in the inbox."""
        full = self._read >= KEPT
        self._read = 0 if full else self._read
        self._cursor, notices = self._news.follow(self.inbox, self._cursor, block_ms, forget=full)
        self._read += len(notices)
        return [Completion(n.job_id, n.outcome, n.data) for n in notices if n.outcome is not None]

    def wait(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one."""
        waiting = Waiting(self.news, self.records, self._clock, self._random)
        return waiting.each(job_ids, timeout_s)

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        """Return what a job with a stream of its own told after `cursor`, and the new cursor."""
        check_name("job id", job_id)
        return self._news.follow(job_id, cursor, block_ms)

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of jobs; None where there is none (any more)."""
        for job_id in job_ids:
            check_name("job id", job_id)
        return self._results.records(job_ids)

    def cancel(self, job_id: str) -> str:
        """Cancel a job; return ok, late (it had ended before) or unknown."""
        check_name("job id", job_id)
        for _ in range(10):  # it may move between our look and our word
            record = self._results.records([job_id])[0]
            if record is None:
                return "unknown"
            ending = Ending(
                job_id, record.tenant, Outcome.CANCELLED, worker=record.worker,
                reply=record.reply, rival=record.rival,
            )  # fmt: skip
            word, _ = self._intake.terminate([ending])[0]
            if word != "moved":
                return "ok" if word == "again" else word
        return "late"

    def counts(self) -> dict[str, int]:
        """Return the totals of the cell."""
        return self._results.counts()

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Say how many shares tenants are due; who is not named keeps what it has (at first 1)."""
        Tenancy(self._link, self._keys).set_weights(weights)

    def ping(self) -> None:
        """Return when the server has answered a PING on the connection that submits."""
        self._link.call("PING")

    def close(self) -> None:
        """Drop the inbox and both connections."""
        try:
            if self._waits:
                self._results.forget(self.inbox)
        except Unreachable:
            pass  # it has a TTL
        finally:
            self._link.close()
            self._reader.close()
