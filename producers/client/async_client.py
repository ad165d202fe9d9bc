"""The producer's view from an event loop: many callers, two connections, one inbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Self, overload

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.store import results
from parallax.broker.store.cancelling import cancel
from parallax.broker.store.confirming import Replicated
from parallax.broker.store.intake import Receipt
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.rates import Left, Spending, spend_call
from parallax.broker.store.results import Record
from parallax.broker.store.tenancy import weights_command
from parallax.core.errors import InvalidInput, ParallaxError, StoreFull, TimedOut
from parallax.core.model import Job, check_name
from parallax.core.words import Cancelled
from parallax.producers.client import traced
from parallax.producers.client.address import found_url
from parallax.producers.client.async_door import Door, Offer
from parallax.producers.client.async_inbox import Inbox, Mail
from parallax.producers.client.async_stream import AsyncStream, Following
from parallax.producers.client.client import named, retry_after
from parallax.producers.client.completion import Completion
from parallax.producers.client.interface import WAIT_S
from parallax.producers.client.ticks import Ticks
from parallax.telemetry.tracing import Tracer, ambient

#: How long closing may wait for jobs to be cancelled whose callers have left (seconds), for how
#: long that is tried while the store is away, and how long one waits between two tries.
LEAVING_S, CANCELLING_S, _PAUSE_S = 5.0, 60.0, 1.0
#: Of so many jobs it is kept whether replicas hold them.
MOST_CONFIRMED = 20_000


class AsyncClient:
    """Submits and waits over two connections, for any number of tasks of one event loop.

    Everything that its tasks ask in one turn of the loop goes to Redis together: submits in one
    script call, cancellations in another, records in one write. What is told of jobs comes through
    one inbox. See `Client`, whose errors it shares, for where Redis is found and for prefixes.

    A task that is cancelled while it runs or streams a job cancels the job. An async context
    manager: leaving it closes it.
    """

    def __init__(
        self,
        url: str | None = None,
        cell: str = "main",
        limits: Limits | None = None,
        *,
        shared_prefixes: bool = False,
        tracer: Tracer | None = None,
        replicated: Replicated | None = None,
    ) -> None:
        self._keys, self._limits = Keys(cell), limits or Limits()
        self._tracer = tracer
        self._link = AsyncLink.to(found_url() if url is None else url)
        self._random = Random()
        self._inbox = Inbox(self._link, self._keys, self._random)
        self._door = Door(
            self._link, self._keys, self._limits, self._random, shared_prefixes=shared_prefixes,
            replicated=replicated,
        )  # fmt: skip
        self._confirmed: dict[str, bool] = {}  # of the latest jobs
        self._cancels = Ticks(self._cancelled)
        self._reads = Ticks(self._recorded)
        self._leaving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.close()

    @property
    def inbox(self) -> str:
        """The name of the stream that is told of its jobs."""
        return self._inbox.name

    # -- submitting

    @overload
    async def submit(
        self, jobs: Job, *, own_streams: bool = False, bodies: Mapping[str, bytes] | None = None,
        retry_refused_s: float = 0.0,
    ) -> Receipt: ...  # fmt: skip

    @overload
    async def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> list[Receipt]: ...  # fmt: skip

    async def submit(
        self, jobs: Job | Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> Receipt | list[Receipt]:  # fmt: skip
        """Offer one job or many; return its receipt, or a list of them in the order of the jobs.

        With `own_streams` each job reports on a stream of its own, else all of them to this
        client's inbox. With `retry_refused_s` what is refused because the queue or Redis is full is
        offered again for so many seconds. Raises as `Client.submit` does.
        """
        some = [jobs] if isinstance(jobs, Job) else list(jobs)
        offer = Offer(some, None if own_streams else self.inbox, checked(bodies or {}))
        if not own_streams:
            self._inbox.open()
        tracer = ambient() if self._tracer is None else self._tracer
        if tracer.on:
            with traced.Submitting(tracer, some, self._keys.cell) as submitting:
                offer = replace(offer, jobs=submitting.jobs)
                receipts = submitting.answered(await self._offered(offer, retry_refused_s))
        else:
            receipts = await self._offered(offer, retry_refused_s)
        return receipts[0] if isinstance(jobs, Job) else receipts

    async def _offered(self, offer: Offer, retry_s: float) -> list[Receipt]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + retry_s
        receipts: dict[int, Receipt] = {}
        left = list(range(len(offer.jobs)))
        while left:
            some = [offer.jobs[n] for n in left]
            try:
                answers = await self._door.submit(replace(offer, jobs=some))
            except StoreFull as full:
                if loop.time() >= deadline:
                    raise
                answers = [Receipt.failed(job.id, full) for job in some]
            receipts.update(zip(left, answers, strict=True))
            self._note(answers)
            hints = {n: retry_after(receipts[n]) for n in left}
            left = [n for n in left if hints[n]]
            now = loop.time()
            if not left or now >= deadline:
                break
            hint = max(hints.values()) * self._random.uniform(0.5, 1.0)
            await asyncio.sleep(min(deadline - now, hint))
        return [receipts[n] for n in range(len(offer.jobs))]

    def _note(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            if receipt.confirmed is not None:
                self._confirmed[receipt.job_id] = receipt.confirmed
        while len(self._confirmed) > MOST_CONFIRMED:
            del self._confirmed[next(iter(self._confirmed))]

    def confirmed(self, job_id: str) -> bool | None:
        """Return whether replicas hold a job that was submitted here; None: nobody asked."""
        return self._confirmed.get(job_id)

    # -- waiting

    async def wait(
        self, jobs: str | Job | Receipt | Iterable[str | Job | Receipt], timeout_s: float = WAIT_S
    ) -> AsyncIterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one.

        Jobs are named by their ids, or by the jobs or receipts themselves.
        """
        some = [jobs] if isinstance(jobs, str | Job | Receipt) else jobs
        missing, mail = set(map(named, some)), Mail()
        self._inbox.expect(missing, mail)
        try:
            async for completion in _each(mail, missing, timeout_s):
                yield completion
        finally:
            self._inbox.leave(missing, mail)

    @overload
    async def run(
        self, jobs: Job, body: bytes = b"", *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> Completion: ...  # fmt: skip

    @overload
    async def run(
        self, jobs: Sequence[Job], *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> list[Completion]: ...  # fmt: skip

    async def run(
        self, jobs: Job | Sequence[Job], body: bytes = b"", *, timeout_s: float = WAIT_S,
        bodies: Mapping[str, bytes] | None = None, retry_refused_s: float = 0.0,
    ) -> Completion | list[Completion]:  # fmt: skip
        """Submit one job or many and wait; return how it ended, or a list in the jobs' order.

        `body` is what one job is asked, `bodies` are those of many, by their ids. Raises as
        `Client.run` does. If its task is cancelled, so are the jobs.
        """
        some = [jobs] if isinstance(jobs, Job) else list(jobs)
        if isinstance(jobs, Job) and body:
            bodies = {jobs.id: body}
        missing, mail = {job.id for job in some}, Mail()
        names = list(missing)
        self._inbox.expect(names, mail)
        submitted = asyncio.ensure_future(
            self.submit(some, bodies=bodies, retry_refused_s=retry_refused_s)
        )
        try:
            for receipt in await asyncio.shield(submitted):
                error = receipt.error()
                if error is not None:
                    raise error
            ended = {one.job_id: one async for one in _each(mail, missing, timeout_s)}
        except asyncio.CancelledError:
            self._leave(sorted(missing), submitted)
            raise
        finally:
            self._inbox.leave(names, mail)
        if missing:
            some_late = f"{len(missing)} jobs, {min(missing)} among them"
            raise TimedOut(f"no news for {timeout_s:g} s of {some_late}")
        return ended[jobs.id] if isinstance(jobs, Job) else [ended[job.id] for job in some]

    def stream(self, job: Job, body: bytes = b"", *, timeout_s: float = WAIT_S) -> AsyncStream:
        """Return a job's answer as it is made: an async iterator of chunks, bytes as they came.

        The job is submitted when the first chunk is asked for. See `AsyncStream` for the end, and
        for who leaves before.
        """
        job = replace(job, stream=True)
        bodies = checked({job.id: body} if body else {})
        submitted: list[asyncio.Future[Receipt]] = []

        async def submit() -> None:
            submitted.append(asyncio.ensure_future(self.submit(job, bodies=bodies)))
            try:
                receipt = await asyncio.shield(submitted[0])
            except asyncio.CancelledError:
                self._leave([job.id], submitted[0])
                raise
            error = receipt.error()
            if error is not None:
                raise error

        return AsyncStream(
            Following(
                job.id, submit, lambda: self._leave([job.id], submitted[0]), self._inbox, timeout_s
            )
        )

    def _leave(self, job_ids: Sequence[str], submitted: asyncio.Future[Any]) -> None:
        """Cancel jobs that nobody waits for any more, once it is known that they are there."""
        task = asyncio.get_running_loop().create_task(self._left(job_ids, submitted))
        self._leaving.add(task)  # else nobody holds it
        task.add_done_callback(self._leaving.discard)

    async def _left(self, job_ids: Sequence[str], submitted: asyncio.Future[Any]) -> None:
        with suppress(ParallaxError):
            await submitted
        loop = asyncio.get_running_loop()
        until = loop.time() + CANCELLING_S
        while True:
            try:
                await asyncio.gather(*map(self.cancel, job_ids))
            except ParallaxError:
                if loop.time() >= until:
                    return  # it goes on; nobody is left to be told
                await asyncio.sleep(self._random.uniform(0.1, 1.0) * _PAUSE_S)
            else:
                return

    # -- looking, cancelling, weights

    async def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of jobs; None where there is none (any more)."""
        for job_id in job_ids:
            check_name("job id", job_id)
        return await self._reads.ask(job_ids)

    async def _recorded(self, asked: Sequence[Sequence[str]]) -> list[list[Record | None]]:
        every = list(dict.fromkeys(job for job_ids in asked for job in job_ids))
        found = await self._link.carry(results.records(self._keys, every))
        known = dict(zip(every, found, strict=True))
        return [[known[job] for job in job_ids] for job_ids in asked]

    async def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that keep them; None where there is none (any more)."""
        for job_id in job_ids:
            check_name("job id", job_id)
        return await self._link.carry(results.answers(self._keys, job_ids))

    async def queue_place(self, record: Record) -> tuple[int, bool]:
        """Return the place of a queued job among its tenant's, and whether it is exact.

        Counted as they came, and no further than a hundred; policies may serve them otherwise.
        """
        return await self._link.ask(results.queue_place_asked(self._keys, record))

    async def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job; return ok, late (it had ended before) or unknown."""
        check_name("job id", job_id)
        return await self._cancels.ask(job_id)

    async def _cancelled(self, job_ids: Sequence[str]) -> list[Cancelled]:
        return await self._link.carry(cancel(self._keys, self._limits, job_ids))

    async def spend(self, spendings: Sequence[Spending]) -> list[Left]:
        """Spend the rates of API keys in one call; return the allowance left of each."""
        return await self._link.do(spend_call(self._keys, spendings))

    async def set_weights(self, weights: Mapping[str, float]) -> None:
        """Set the weights of tenants; a tenant that is not named keeps its weight (at first 1)."""
        if weights:
            await self._link.call(*weights_command(self._keys, weights))

    async def ping(self) -> None:
        """Return when the server has answered a PING on the connection that submits."""
        await self._link.call("PING")

    async def close(self) -> None:
        """Cancel what nobody waits for any more, drop the inbox and both connections."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=LEAVING_S)
        for task in self._leaving:
            task.cancel()
        await self._inbox.close()
        await self._door.close()
        await self._link.close()


async def _each(mail: Mail, missing: set[str], timeout_s: float) -> AsyncIterator[Completion]:
    """Yield ends as they come, and take them out of `missing`."""
    while missing:
        told = await mail.take(timeout_s)
        if not told:
            return
        for one in told:
            if one.completion is not None and one.completion.job_id in missing:
                missing.discard(one.completion.job_id)
                yield one.completion


def checked(bodies: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return them; raises InvalidInput for one that is no bytes."""
    for job_id, body in bodies.items():
        if not isinstance(body, bytes):
            raise InvalidInput(f"body of job {job_id}", type(body).__name__, "bytes")
    return bodies
