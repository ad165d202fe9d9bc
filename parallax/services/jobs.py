"""Long jobs on any number of machines, by rq: simulations and maintenance, never requests.

Arguments and results are JSON. Whoever can write to the server can name any function to an rq
worker; this one imports and calls only those of `ALLOWED`, and no callbacks or webhooks. All
that is kept ends by itself. This is the only module that imports rq.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import tzset
from typing import Any

os.environ.setdefault("RQ_KEY_PREFIX", "parallax:rq")  # rq reads it when it is imported

from rq import Queue, Retry, Worker
from rq.cron import CronJob, CronScheduler
from rq.exceptions import StopRequested
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from parallax.broker.link.endpoint import Endpoint
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError

#: The functions that a worker calls. Each takes JSON values, and returns one.
RUN, NIGHTLY = "parallax.cli.remote.run", "parallax.cli.nightly.maintain"
ALLOWED = frozenset({RUN, NIGHTLY})
QUEUE = "lab"

#: A worker blocks for as long on the server; a reply that takes longer is lost.
_REPLY_S = 30.0
#: How often a job is tried beside the first time, and how long anything of it is kept (seconds).
RETRIES, _KEPT_S, _RESULT_S = 2, 24 * 3600, 3600
#: A worker that runs a job says so at this interval; without news for the next time it has died.
_SIGN_S, _DEAD_S = 5, 20
_POLL_S = 0.1
_NIGHT_S, _MONTH_S = 600, 31 * 24 * 3600
_MOST_AT_ONCE = 200


class JobFailed(ParallaxError):
    """A job was tried as often as it may be; the message is its last error."""


class Refused(Exception):
    """A job asks for what a worker of ours does not do."""


class ListedJob(Job):  # type: ignore[misc]
    """A job whose function is in the list, or that is not run; nothing else that it names is."""

    @property
    def func(self) -> Callable[..., Any]:
        """The function; raises Refused before anything is imported."""
        if self.func_name not in ALLOWED or self.instance is not None:
            raise Refused(f"{self.func_name!r} is not in the list of functions")
        found: Callable[..., Any] = super().func
        return found

    @property
    def success_callback(self) -> None:
        """None, whatever the job names."""

    @property
    def failure_callback(self) -> None:
        """None, whatever the job names."""

    @property
    def stopped_callback(self) -> None:
        """None, whatever the job names."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Send none, whatever the job names."""


class _JobWorker(Worker):  # type: ignore[misc]
    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Return after how many seconds without news a job is taken for abandoned."""
        return _DEAD_S


def work(url: str, *, burst: bool = False) -> None:
    """Work for the queue until SIGTERM, which lets a job end; with `burst` until it is empty."""
    client = Endpoint.of(url, _REPLY_S).lent()
    worker = _JobWorker(
        [_queue(client)], connection=client, job_class=ListedJob, serializer=JSONSerializer,
        job_monitoring_interval=_SIGN_S, maintenance_interval=_DEAD_S,
        worker_ttl=int(_REPLY_S) - 5, log_job_description=False,
    )  # fmt: skip
    worker.work(burst=burst, logging_level="WARNING")


def workers(url: str) -> int:
    """Return how many workers there are."""
    client = Endpoint.of(url, _REPLY_S).lent()
    try:
        return int(Worker.count(connection=client))
    finally:
        client.close()


def _queue(client: Any) -> Queue:
    return Queue(QUEUE, connection=client, job_class=ListedJob, serializer=JSONSerializer)


class _Nightly(CronJob):  # type: ignore[misc]
    """A job that is due by a cron pattern. rq would write its arguments as pickle."""

    def enqueue(self, connection: Any) -> Job:
        """Put it into our queue, as JSON."""
        return _queue(connection).enqueue(self.func, args=list(self.args), **self.job_options)


def every_night(url: str, pattern: str, function: Callable[[str], object], cell: str) -> None:
    """Enqueue the maintenance of a cell whenever the pattern says, until SIGTERM.

    Raises InvalidInput for a pattern that is none.
    """
    os.environ["TZ"] = "UTC"  # rq reads patterns in local time
    tzset()
    try:
        due = _Nightly(
            QUEUE, function, args=(cell,), cron=pattern, ttl=_KEPT_S, job_timeout=_NIGHT_S,
            result_ttl=_MONTH_S, failure_ttl=_MONTH_S,
        )  # fmt: skip
    except ValueError as error:
        allowed = f"five fields of cron, such as 17 3 * * * ({error})"
        raise InvalidInput("--at", pattern, allowed) from None
    scheduler = CronScheduler(Endpoint.of(url, _REPLY_S).lent(), logging_level="WARNING")
    scheduler.get_jobs().append(due)
    with suppress(StopRequested):  # rq hears signals a moment before it is ready for them
        scheduler.start()


def digests(url: str) -> list[object]:
    """Return what the nights of the last month came to."""
    client = Endpoint.of(url, _REPLY_S).lent()
    ids = _queue(client).finished_job_registry.get_job_ids()
    jobs = ListedJob.fetch_many(ids, client, serializer=JSONSerializer)
    made = [job for job in jobs if job is not None and job.func_name == NIGHTLY]
    return [job.return_value() for job in sorted(made, key=lambda job: job.enqueued_at)]


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs of one caller, by their ids, and where they are."""

    client: Any
    queue: Queue
    indices: dict[str, int]  # id -> which of the arguments

    def ended(self) -> Iterator[tuple[int, object]]:
        """Yield (which, result or JobFailed) of what has ended, and forget it."""
        # rq looks for jobs of dead workers between two jobs of living ones; whoever waits can, too.
        StartedJobRegistry(
            QUEUE, self.client, job_class=ListedJob, serializer=JSONSerializer
        ).cleanup()
        ids = list(self.indices)
        for start in range(0, len(ids), _MOST_AT_ONCE):
            some = ids[start : start + _MOST_AT_ONCE]
            jobs = ListedJob.fetch_many(some, self.client, serializer=JSONSerializer)
            for id_, job in zip(some, jobs, strict=True):
                result = _result(job)
                if result is not None:
                    yield self.indices.pop(id_), result
                    if job is not None:
                        job.delete()

    def forget(self) -> None:
        """Take back what has not begun, and forget the rest."""
        for id_ in list(self.indices):
            (job,) = ListedJob.fetch_many([id_], self.client, serializer=JSONSerializer)
            if job is not None:
                job.delete()


def _result(job: Job | None) -> object | None:
    """Return what came of a job; None while it is under way."""
    if job is None:
        return JobFailed("the job has expired: no worker took it for a day")
    status = job.get_status(refresh=False)
    if status == JobStatus.FINISHED:
        result: object = job.return_value()
        return result
    if status in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
        last = job.latest_result()
        told = (last.exc_string if last else None) or str(status)
        return JobFailed(told.strip().splitlines()[-1][:500])
    return None


def spread(
    url: str, function: str, arguments: Sequence[Sequence[Any]], timeout_s: float, clock: Clock
) -> Iterator[tuple[int, object]]:
    """Run a function of the list once for each of the arguments, on whatever workers there are.

    Yields (which, result or JobFailed) in the order in which they end. Raises InvalidInput if no
    worker is there, and JobFailed if nothing ends for as long as all tries of a job may take.
    """
    client = Endpoint.of(url, _REPLY_S).lent()
    queue = _queue(client)
    if not Worker.count(connection=client):
        raise InvalidInput("--rq", "no worker", "one or more of `parallax lab worker`")
    prepared = [
        Queue.prepare_data(
            function, args=list(one), timeout=int(timeout_s), result_ttl=_RESULT_S, ttl=_KEPT_S,
            failure_ttl=_KEPT_S, retry=Retry(max=RETRIES),
        )
        for one in arguments
    ]  # fmt: skip
    jobs = queue.enqueue_many(prepared)
    waiting = Submission(client, queue, {job.id: at for at, job in enumerate(jobs)})
    patience_s = (1 + RETRIES) * (timeout_s + _DEAD_S)
    tick, last = threading.Event(), clock.monotonic()
    try:
        while waiting.indices:
            for ended in waiting.ended():
                last = clock.monotonic()
                yield ended
            if clock.monotonic() - last > patience_s:
                raise JobFailed(f"nothing ended for {patience_s:g} s: are there still workers?")
            tick.wait(_POLL_S)
    finally:
        waiting.forget()
        client.close()
