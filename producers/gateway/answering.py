"""Answers one request: runs or streams its jobs and reports their results.

There is one job for each answer that a request wants: nearly always one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive

from parallax.broker.api import paths
from parallax.broker.store.results import Record
from parallax.core.errors import ParallaxError, TimedOut
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import Job
from parallax.producers.client.async_client import AsyncClient
from parallax.producers.client.async_stream import AsyncStream
from parallax.producers.client.completion import Completion
from parallax.producers.gateway import explaining, merging
from parallax.producers.gateway.bodies import Asked
from parallax.producers.gateway.events import CHUNKS, RESPONSES
from parallax.producers.gateway.explaining import JOB
from parallax.producers.gateway.leaving import over, unless_left
from parallax.producers.gateway.meaning import Meant
from parallax.producers.gateway.merging import Merged
from parallax.producers.gateway.models import Models
from parallax.producers.gateway.pace import Pace
from parallax.producers.gateway.problems import Code, Problem, problem_of, problem_of_end
from parallax.producers.gateway.requests import CompletionRequest
from parallax.producers.gateway.settings import GatewaySettings
from parallax.producers.gateway.streaming import Standing, Streamed

R = TypeVar("R")
Settle = Callable[[int], None]

#: How often a request may be made again whose jobs came to nothing.
MOST_AGAIN = 20

#: How long an answer waits for the values of its headers (seconds).
EXPLAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A job of a request, and its body."""

    meant: Meant
    asked: Asked


@dataclass(frozen=True, slots=True)
class Answering:
    """Runs jobs over one client."""

    client: AsyncClient
    models: Models
    settings: GatewaySettings
    pace: Pace

    async def whole(
        self, asks: Sequence[Ask], headers: Mapping[str, str], receive: Receive, settle: Settle
    ) -> Response:
        """Return the answer as one document; raises Problem, ParallaxError, ClientLeft.

        `settle` is told how many tokens it took, unless that is unknown.
        """
        try:
            ended = await unless_left(self._all(asks), receive)
        except (Problem, ParallaxError) as error:
            settle(0)
            raise await self._later(error) from error
        settle(sum(map(tokens_of, ended)))
        first = ended[0]
        answer = first.answer if len(ended) == 1 else _merged(asks, ended)
        told = {**headers, JOB: first.job_id, **explaining.of_report(first.report)}
        told |= self._durability(one.job_id for one in ended)
        return Response(answer, media_type="application/json", headers=told)

    async def _all(self, asks: Sequence[Ask]) -> list[Completion]:
        """Run all jobs; if one of them comes to nothing the others are cancelled."""
        if len(asks) == 1:
            return [await self._one(asks[0])]
        tasks = [asyncio.ensure_future(self._one(ask)) for ask in asks]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await over(*tasks)

    async def _one(self, ask: Ask) -> Completion:
        ended = await (self._kept if ask.meant.repeatable else self._run)(ask.meant, ask.asked.body)
        if ended.outcome is not Outcome.COMPLETED:
            raise problem_of_end(ended)
        if not ended.answer:
            raise no_answer(ended)
        return ended

    async def _run(self, meant: Meant, body: bytes) -> Completion:
        await self._held(meant)
        try:
            return await self.client.run(meant.job, body, timeout_s=self.settings.wait_s)
        except TimedOut:
            with suppress(ParallaxError):  # it has a deadline of its own, or ends unheard
                await self.client.cancel(meant.job.id)
            raise

    async def _kept(self, meant: Meant, body: bytes) -> Completion:
        """Run a job whose client may come back for it: it is not cancelled when that leaves."""
        await self._held(meant)
        job, _ = await self._untried(meant)
        receipt = await self.client.submit(job, bodies={job.id: body})
        if (error := receipt.error()) is not None:
            raise error
        async for ended in self.client.wait(job, self.settings.wait_s):
            return await self._with_answer(ended)
        raise TimedOut(f"no news for {self.settings.wait_s:g} s of job {job.id}")

    async def _with_answer(self, ended: Completion) -> Completion:
        """Fetch an answer that was kept, where the end was heard of without it."""
        if ended.answer or ended.outcome is not Outcome.COMPLETED:
            return ended
        (answer,) = await self.client.answers([ended.job_id])
        return Completion(ended.job_id, ended.outcome, ended.data, answer or b"")

    async def streamed(
        self, asks: Sequence[Ask], headers: Mapping[str, str], receive: Receive, settle: Settle
    ) -> Streamed:
        """Return the answer as it is made, once its status is 200; raises as `whole` does."""
        meant, path = asks[0].meant, asks[0].asked.path
        jobs = [await self._first_time(a.meant) if a.meant.repeatable else a.meant.job
                for a in asks]  # fmt: skip
        job, waits = jobs[0], self.settings.wait_s
        streams = [
            self.client.stream(one, ask.asked.body, timeout_s=waits)
            for one, ask in zip(jobs, asks, strict=True)
        ]

        async def explain() -> Mapping[str, str]:
            return await soon(self._explained(job.id), {})

        def kept() -> Mapping[str, str]:
            return self._durability(one.id for one in jobs)

        async def status() -> Standing:
            return await soon(self._status(job.id), Standing("waiting"))

        streamed = Streamed(
            streams[0] if len(streams) == 1 else Merged(streams, _prompts(asks)), self.settings,
            hold=lambda: self._held(meant), status=status, explain=explain, kept=kept,
            headers={**headers, JOB: job.id}, form=RESPONSES if path == paths.RESPONSES else CHUNKS,
        )  # fmt: skip
        try:
            await streamed.open(receive)
        except (Problem, ParallaxError) as error:
            settle(0)
            raise await self._later(error) from error
        streamed.over = lambda: _settle(streams, settle)
        return streamed

    def _durability(self, job_ids: Iterable[str]) -> Mapping[str, str]:
        """Return the header that says whether replicas hold all jobs of a request."""
        known = [self.client.confirmed(job_id) for job_id in job_ids]
        asked = [one for one in known if one is not None]
        return explaining.of_durability(all(asked) if asked else None)

    async def _later(self, error: Problem | ParallaxError) -> Problem:
        """Return how an error is told: with when to come back, where there is no place now."""
        problem = error if isinstance(error, Problem) else problem_of(error)
        if problem.status == 429 and problem.retry is not False:
            problem.retry_after_s = await self.pace.back_s(problem.retry_after_s)
        return problem

    async def _first_time(self, meant: Meant) -> Job:
        """Return the job of a stream; chunks are told once, so it must be the first of its key."""
        job, record = await self._untried(meant)
        if record is not None:
            said = "a streamed answer is told once; use another Idempotency-Key, or none"
            raise Problem(409, Code.STREAM_REPEATED, said, param="idempotency-key")
        return job

    async def _untried(self, meant: Meant) -> tuple[Job, Record | None]:
        """Return the job of a request that may have been made before, and its record.

        That is a new one if those before came to nothing: a refusal is no answer to keep.
        """
        first = meant.job.id
        ids = [first, *(f"{first}.{n}" for n in range(1, MOST_AGAIN))]
        records = await self.client.records(ids)
        undecided = (None, Outcome.COMPLETED)
        at = next(
            (n for n, one in enumerate(records) if one is None or one.outcome in undecided), -1
        )
        return replace(meant.job, id=ids[at]), records[at]

    async def _held(self, meant: Meant) -> None:
        await self.models.await_worker(meant.model, self.settings.hold_s)

    async def _explained(self, job_id: str) -> Mapping[str, str]:
        (record,) = await self.client.records([job_id])
        return explaining.of_record(record)

    async def _status(self, job_id: str) -> Standing:
        (record,) = await self.client.records([job_id])
        if record is None:
            return Standing("waiting for a worker")
        if record.state is not State.QUEUED:
            return Standing(record.state.value)
        place, exact = await self.client.queue_place(record)
        eta_ms = await self.pace.eta_ms(place)
        return Standing("queued", place, exact, eta_ms)


async def soon(work: Awaitable[R], otherwise: R) -> R:
    """Return the result of optional work, or `otherwise` if it fails or takes too long."""
    try:
        async with asyncio.timeout(EXPLAIN_S):
            return await work
    except (ParallaxError, TimeoutError):
        return otherwise


def no_answer(ended: Completion) -> Problem:
    """Return that an engine worked and said nothing."""
    worker = ended.report.worker
    said = f"the engine of {worker} gives no answers: it only imitates work; use one that does"
    return Problem(502, Code.NO_ANSWER, said, retry=False)


def tokens_of(ended: Completion) -> int:
    """Return how many tokens a job took: prompt and answer."""
    return ended.report.prompt_tokens + ended.report.output_tokens


def _settle(streams: Sequence[AsyncStream], settle: Settle) -> None:
    """Tell what streams took, if all of them have ended."""
    ends = [stream.completion for stream in streams]
    known = [end for end in ends if end is not None]
    if len(known) == len(ends):
        settle(sum(map(tokens_of, known)))


def _merged(asks: Sequence[Ask], ended: Sequence[Completion]) -> bytes:
    try:
        return merging.whole([one.answer for one in ended], _prompts(asks))
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError) as error:
        said = f"one of several answers cannot be read: {error}"
        raise Problem(502, Code.NO_ANSWER, said, retry=False) from None


def _prompts(asks: Sequence[Ask]) -> int:
    """Return how many prompts a request has."""
    said = asks[0].asked.said
    return len(said.prompts) if isinstance(said, CompletionRequest) else 1
