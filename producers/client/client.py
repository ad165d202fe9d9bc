"""The producer's view: submit jobs, wait for their ends, look at records, cancel."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Self, overload

from parallax.broker.link.connection import Link, repeated
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.store.cancelling import cancel
from parallax.broker.store.confirming import Replicated
from parallax.broker.store.intake import Intake, Receipt
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import Notice, Record, Results
from parallax.broker.store.tenancy import Tenancy
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError, Refused, StoreFull, TimedOut, Unreachable
from parallax.core.model import Job, check_name
from parallax.core.words import Cancelled
from parallax.producers.client import traced
from parallax.producers.client.address import found_url
from parallax.producers.client.batches import batches
from parallax.producers.client.bookmark import Bookmark
from parallax.producers.client.completion import Completion, Waiting
from parallax.producers.client.following import Follower, Told
from parallax.producers.client.interface import WAIT_S
from parallax.producers.client.mailbox import Mailbox
from parallax.producers.client.stream import Stream
from parallax.services.clock import SystemClock
from parallax.telemetry.tracing import Tracer, ambient

__all__ = ["Client", "Completion"]


class Client:
    """Submits, waits, and follows streams: three connections. Safe to share between threads.

    Without a `url` it works on the Redis that PARALLAX_REDIS (or the file in PARALLAX_REDIS_FILE)
    names, else on the embedded server that runs on this machine; raises Unreachable if there is
    none. A context manager: leaving it closes it.

    Every client has an inbox: one stream that is told how its jobs end. The inbox is a hint that
    makes waiting cheap; the truth is the job's record, which `wait` looks at when the inbox is
    silent, so a lost hint delays an answer and never loses it.

    What jobs' prefixes are called is salted by tenant, so that no tenant learns from what it finds
    cached which prompts others have sent. With `shared_prefixes` they are taken as they are: for
    who replays a trace, in which one name means one text whoever sent it.

    Where OpenTelemetry is set up, jobs go on with their caller's trace (docs/monitoring.md).
    """

    def __init__(
        self,
        url: str | None = None,
        cell: str = "main",
        limits: Limits | None = None,
        clock: Clock | None = None,
        *,
        shared_prefixes: bool = False,
        replicated: Replicated | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._keys, self._limits = Keys(cell), limits or Limits()
        self._tracer = tracer
        self._clock: Clock = clock or SystemClock()
        self._random = Random()
        url = found_url() if url is None else url
        self._link, self._reader, self._streamer = Link.to(url), Link.to(url), Link.to(url)
        # The holder of a lock asks Redis, which answers or times out: no thread waits for ever.
        self._asking, self._listening = threading.Lock(), threading.Lock()
        self._following = threading.Lock()
        self._intake = Intake(self._link, self._keys, limits, shared_prefixes, replicated)
        self._results = Results(self._link, self._keys)
        self._news = Results(self._reader, self._keys)
        self._streams = Results(self._streamer, self._keys)
        self._follower = Follower(self._follow_each)
        self.inbox = f"inbox-{secrets.token_hex(8)}"
        self._bookmark = Bookmark()
        self._waits = False  # whether anything was told to write to the inbox
        self._mailbox = Mailbox(self.news)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def submit(
        self, jobs: Job, *, own_streams: bool = False, bodies: Mapping[str, bytes] | None = None,
        times: int = 5, retry_refused_s: float = 0.0,
    ) -> Receipt: ...  # fmt: skip

    @overload
    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, times: int = 5, retry_refused_s: float = 0.0,
    ) -> list[Receipt]: ...  # fmt: skip

    def submit(
        self, jobs: Job | Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, times: int = 5, retry_refused_s: float = 0.0,
    ) -> Receipt | list[Receipt]:  # fmt: skip
        """Offer one job or many; return its receipt, or a list of them in the order of the jobs.

        Long lists go in parts that Redis takes in a few milliseconds each; each part is repeated
        after a lost reply. With `own_streams` each job reports on a stream of its own (`follow`),
        else all of them to this client's inbox (`wait`). With `retry_refused_s` what is refused
        because the queue or Redis is full is offered again for so many seconds.

        Raises Unreachable when Redis was silent `times` times: it is unknown then whether the jobs
        were accepted, and submitting them again is safe. Raises nothing once a part was answered:
        the receipts of the others say what happened (`Receipt.error`).
        """
        if isinstance(jobs, Job):
            return self._offered([jobs], own_streams, bodies or {}, times, retry_refused_s)[0]
        return self._offered(jobs, own_streams, bodies or {}, times, retry_refused_s)

    def _offered(
        self, jobs: Sequence[Job], own_streams: bool, bodies: Mapping[str, bytes], times: int,
        retry_s: float,
    ) -> list[Receipt]:  # fmt: skip
        tracer = ambient() if self._tracer is None else self._tracer
        if not tracer.on:
            return self._until_taken(jobs, own_streams, bodies, times, retry_s)
        with traced.Submitting(tracer, jobs, self._keys.cell) as submitting:
            part = self._until_taken(submitting.jobs, own_streams, bodies, times, retry_s)
            return submitting.answered(part)

    def _until_taken(
        self, jobs: Sequence[Job], own_streams: bool, bodies: Mapping[str, bytes], times: int,
        retry_s: float,
    ) -> list[Receipt]:  # fmt: skip
        deadline = self._clock.monotonic() + retry_s
        receipts: dict[int, Receipt] = {}
        left = list(range(len(jobs)))
        while True:
            some = [jobs[n] for n in left]
            try:
                answers = self._parts(some, own_streams, bodies, times)
            except StoreFull as full:
                if self._clock.monotonic() >= deadline:
                    raise
                answers = [Receipt.failed(job.id, full) for job in some]
            receipts.update(zip(left, answers, strict=True))
            hints = {n: retry_after(receipts[n]) for n in left}
            left = [n for n in left if hints[n]]
            now = self._clock.monotonic()
            if not left or now >= deadline:
                return [receipts[n] for n in range(len(jobs))]
            hint = max(hints.values()) * self._random.uniform(0.5, 1.0)
            self._clock.wait(min(deadline - now, hint))

    def _parts(
        self, jobs: Sequence[Job], own_streams: bool, bodies: Mapping[str, bytes], times: int
    ) -> list[Receipt]:
        reply = None if own_streams else self.inbox
        self._waits = self._waits or not own_streams
        receipts: list[Receipt] = []
        for part in batches(jobs, bodies):
            own = {job.id: bodies[job.id] for job in part if job.id in bodies}
            try:
                receipts += self._part(part, reply, own, times)
            except ParallaxError as error:
                if not receipts:
                    raise
                return receipts + [Receipt.failed(j.id, error) for j in jobs[len(receipts) :]]
        return receipts

    def _part(
        self, jobs: Sequence[Job], reply: str | None, bodies: Mapping[str, bytes], times: int
    ) -> list[Receipt]:
        with self._asking:
            return repeated(
                lambda: self._intake.submit(jobs, reply, bodies), self._clock, self._random, times
            )

    def news(self, block_ms: int) -> list[Completion]:
        """Wait up to `block_ms` for ends of jobs in the inbox; each is told once, to one caller."""
        return Completion.told(self.notices(block_ms))

    def notices(self, block_ms: int) -> list[Notice]:
        """The same with all that is told: pieces of answers, and answers before their ends."""
        with self._listening:
            mark = self._bookmark
            cursor, notices = self._news.follow(
                self.inbox, mark.cursor, block_ms, forget=mark.full, taken=mark.taken
            )
            mark.move(cursor, notices)
        return notices

    def wait(
        self, jobs: str | Job | Receipt | Iterable[str | Job | Receipt], timeout_s: float = WAIT_S
    ) -> Iterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one.

        Jobs are named by their ids, or by the jobs or receipts themselves.
        """
        some = [jobs] if isinstance(jobs, str | Job | Receipt) else jobs
        waiting = Waiting(self._mailbox.take, self.records, self.answers, self._clock, self._random)
        return waiting.each(map(named, some), timeout_s)

    @overload
    def run(
        self, jobs: Job, body: bytes = b"", *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> Completion: ...  # fmt: skip

    @overload
    def run(
        self, jobs: Sequence[Job], *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> list[Completion]: ...  # fmt: skip

    def run(
        self, jobs: Job | Sequence[Job], body: bytes = b"", *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> Completion | list[Completion]:  # fmt: skip
        """Submit one job or many and wait; return how it ended, or a list in the jobs' order.

        `body` is what the engine is to answer, of one job; `bodies` are those of many, by their
        ids. What it answered is `Completion.answer`, and `Completion.text` if it is a chat.

        Raises what a receipt says if a job was not accepted (the others go on), and TimedOut after
        `timeout_s` without news. How they ended raises nothing: see `raise_for_outcome`.
        """
        some = [jobs] if isinstance(jobs, Job) else jobs
        if isinstance(jobs, Job) and body:
            bodies = {jobs.id: body}
        for receipt in self.submit(some, bodies=bodies, retry_refused_s=retry_refused_s):
            error = receipt.error()
            if error is not None:
                raise error
        ended = {completion.job_id: completion for completion in self.wait(some, timeout_s)}
        late = [job.id for job in some if job.id not in ended]
        if late:
            raise TimedOut(f"no news for {timeout_s:g} s of {len(late)} jobs, {late[0]} among them")
        return ended[jobs.id] if isinstance(jobs, Job) else [ended[job.id] for job in jobs]

    def stream(self, job: Job, body: bytes = b"", *, timeout_s: float = WAIT_S) -> Stream:
        """Submit a job; return its answer as it is made: an iterator of chunks.

        The job gets a stream of its own, so that whoever reads it slowly keeps others waiting for
        nothing. Raises what the receipt says if it is not accepted. See `Stream` for the end, and
        for who leaves before.
        """
        return Stream(
            self, replace(job, stream=True), body, timeout_s, self._clock, self._random
        )  # fmt: skip

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that keep them; None where there is none (any more)."""
        for job_id in job_ids:
            check_name("job id", job_id)
        with self._asking:
            return self._results.answers(job_ids)

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        """Return what a job with a stream of its own told after `cursor`, and the new cursor.

        Waits up to `block_ms` (at most two seconds) for news.
        """
        check_name("job id", job_id)
        return self._follower.follow(job_id, cursor, min(block_ms, MAX_BLOCK_MS))

    def _follow_each(self, cursors: Mapping[str, str], block_ms: int) -> Mapping[str, Told]:
        with self._following:
            return self._streams.follow_each(cursors, block_ms)

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of jobs; None where there is none (any more)."""
        for job_id in job_ids:
            check_name("job id", job_id)
        with self._asking:
            return self._results.records(job_ids)

    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job; return ok, late (it had ended before) or unknown."""
        check_name("job id", job_id)
        with self._asking:
            (word,) = self._link.carry(cancel(self._keys, self._limits, [job_id]))
        return word

    def counts(self) -> dict[str, int]:
        """Return the totals of the cell."""
        with self._asking:
            return self._results.counts()

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Set the weights of tenants; a tenant that is not named keeps its weight (at first 1)."""
        with self._asking:
            Tenancy(self._link, self._keys).set_weights(weights)

    def ping(self) -> None:
        """Return when the server has answered a PING on the connection that submits."""
        with self._asking:
            self._link.call("PING")

    def close(self) -> None:
        """Drop the inbox and all connections."""
        with self._asking, self._listening, self._following:
            try:
                if self._waits:
                    self._results.forget(self.inbox, self._bookmark.taken)
            except Unreachable:
                pass  # it has a TTL
            finally:
                self._link.close()
                self._reader.close()
                self._streamer.close()


def named(job: str | Job | Receipt) -> str:
    """Return the id of a job, however it is named."""
    if isinstance(job, str):
        return job
    return job.id if isinstance(job, Job) else job.job_id


def retry_after(receipt: Receipt) -> float:
    """Return the seconds after which a job may be offered again; 0 if that would not help."""
    error = receipt.error()
    return error.retry_after_s if isinstance(error, Refused | StoreFull) else 0.0
