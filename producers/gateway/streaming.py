"""A streamed answer: the status at the first news, comments while nothing comes, then the chunks.

    opening -> news? --error--> the error's status, as JSON
                |----chunk---> 200, and the chunks as they come, and [DONE]
                +-- none ----> after `head_s`: 200, comments; what fails now is an event

A client that leaves, or reads nothing for too long, cancels the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Receive, Scope, Send

from parallax.core.errors import NotCompleted, ParallaxError
from parallax.producers.client.completion import Completion
from parallax.producers.gateway import events
from parallax.producers.gateway.events import CHUNKS, Form
from parallax.producers.gateway.explaining import bytes_of
from parallax.producers.gateway.leaving import ClientLeft, gone, over
from parallax.producers.gateway.problems import Problem, ending, problem_of, problem_of_end
from parallax.producers.gateway.settings import GatewaySettings

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Chunks(Protocol):
    """The stream of an answer; see `AsyncStream`."""

    @property
    def completion(self) -> Completion | None: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand with a job that has said nothing yet."""

    word: str
    place: int | None = None  # in its tenant's queue, from 1
    exact: bool = True
    eta_ms: int | None = None

    @property
    def text(self) -> str:
        """It in a comment."""
        if self.place is None:
            return self.word
        said = f"{self.word} position={'' if self.exact else '>'}{self.place}"
        return said if self.eta_ms is None else f"{said} eta_ms={self.eta_ms}"

    @property
    def headers(self) -> dict[str, str]:
        """It in headers."""
        return {} if self.place is None else {"x-parallax-queue-position": str(self.place)}


class Streamed:
    """An answer under way. `hold` is awaited before the job is submitted."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes] | Chunks,
        settings: GatewaySettings,
        *,
        hold: Callable[[], Awaitable[None]],
        status: Callable[[], Awaitable[Standing]],
        explain: Callable[[], Awaitable[Mapping[str, str]]],
        kept: Callable[[], Mapping[str, str]] = dict,
        headers: Mapping[str, str],
        form: Form = CHUNKS,
    ) -> None:
        self._chunks: Chunks = chunks  # type: ignore[assignment]
        self._settings, self._hold, self._status, self._explain = settings, hold, status, explain
        self._kept = kept
        self._headers, self._form = {**headers, **_HEADERS}, form
        self._first: asyncio.Task[bytes | None] | None = None
        self.failed: Problem | None = None  # after the head
        self.left = False
        self.began: Callable[[], None] = lambda: None
        self.over: Callable[[], None] = lambda: None
        self._stands: Standing | None = None  # said in the head, and once more in a comment

    async def open(self, receive: Receive) -> None:
        """Return when the status is 200; raises Problem for another, ClientLeft without a client.

        After it has returned, it is called as an ASGI application.
        """
        self._first = asyncio.ensure_future(self._next_after_hold())
        try:
            await self._news(self._first, receive)
        except BaseException as error:
            await self.close()
            problem = self._problem(error)
            if problem is None:
                raise
            raise problem from error

    async def _news(self, first: asyncio.Task[bytes | None], receive: Receive) -> None:
        left = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait(
                {first, left}, timeout=self._settings.head_s, return_when=asyncio.FIRST_COMPLETED
            )
            has_left = left.done()
        finally:
            await over(left)
        if first.done():
            first.result()
            self._headers |= await self._explain()
        elif has_left:
            raise ClientLeft
        else:
            self._stands = await self._status()
            self._headers |= self._stands.headers
        self._headers |= self._kept()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; return when it is sent, or cannot be."""
        begun = False
        try:
            start = {"type": "http.response.start", "status": 200,
                     "headers": bytes_of(self._headers)}  # fmt: skip
            await send(start)
            begun = True
            writing = asyncio.ensure_future(self._write(send))
            left = asyncio.ensure_future(gone(receive))
            try:
                await asyncio.wait({writing, left}, return_when=asyncio.FIRST_COMPLETED)
                self.left = not writing.done()
            finally:
                await over(writing, left)
            if writing.done() and not writing.cancelled():
                writing.result()
        except asyncio.CancelledError:  # the gateway's time to answer is over
            if not begun:
                raise
            self.failed = ending()
            with suppress(TimeoutError, OSError):
                await self._send(send, self._form.failure(self.failed), more=False)
        except (TimeoutError, OSError):
            self.left = True  # it reads nothing any more
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave: the job is cancelled unless it has ended."""
        if self._first is not None:
            await over(self._first)
        await self._chunks.aclose()
        self.over()

    # -- writing

    async def _write(self, send: Send) -> None:
        try:
            await self._comment(send)
            chunk = await self._taken()
            self.began()
            while chunk is not None:
                ending = self._form.ends(chunk)
                if not ending:
                    await self._send(send, self._form.event(chunk))
                following = await self._next()
                if ending:  # had the job failed, that would have been told instead
                    await self._send(send, self._form.event(chunk))
                chunk = following
            await self._send(send, self._form.done, more=False)
        except (ParallaxError, Problem) as error:
            self.failed = self._problem(error)
            assert self.failed is not None  # noqa: S101 - for the type checker
            await self._send(send, self._form.failure(self.failed), more=False)

    async def _comment(self, send: Send) -> None:
        """Say how things stand until the first chunk, or the end, is there."""
        first = self._opened()
        while not first.done():
            stands, self._stands = self._stands or await self._status(), None
            await self._send(send, events.comment(stands.text))
            await asyncio.wait({first}, timeout=self._settings.comment_s)

    async def _send(self, send: Send, data: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._settings.slow_client_s):
            await send({"type": "http.response.body", "body": data, "more_body": more})

    # -- the chunks

    def _opened(self) -> asyncio.Task[bytes | None]:
        if self._first is None:
            raise RuntimeError("it was not opened")
        return self._first

    async def _taken(self) -> bytes | None:
        return await self._opened()

    async def _next_after_hold(self) -> bytes | None:
        await self._hold()
        return await self._next()

    async def _next(self) -> bytes | None:
        with suppress(StopAsyncIteration):
            return await self._chunks.__anext__()
        return None

    def _problem(self, error: BaseException) -> Problem | None:
        """Return how an error is told; None for one that is nobody's answer."""
        if isinstance(error, Problem):
            return error
        completion = self._chunks.completion
        if isinstance(error, NotCompleted) and completion is not None:
            return problem_of_end(completion)
        return problem_of(error) if isinstance(error, ParallaxError) else None
