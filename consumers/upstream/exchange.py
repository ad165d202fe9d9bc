"""One request at a server: sent, sent again while that is busy, and its answer told as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from parallax.consumers.engines.interface import Chunk, Done, Event, Started
from parallax.consumers.upstream.asked import Asked
from parallax.consumers.upstream.assembly import MOST_ANSWER
from parallax.consumers.upstream.backend import Timeouts
from parallax.consumers.upstream.door import Door, whole
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.reading import Stream, Used, read_whole
from parallax.consumers.upstream.sse import EventReader, TooLong
from parallax.core.clock import Clock
from parallax.engine.request import Consumed, Request

if TYPE_CHECKING:
    import aiohttp

#: Pauses while a server is busy: the first, and the longest that we choose ourselves (seconds).
PAUSE_S, MOST_PAUSE_S = 0.25, 4.0

#: How long the last bytes of a finished stream are waited for, so that its connection lives on.
TAIL_S = 1.0

Tell = Callable[[Sequence[Event]], None]


@dataclass(slots=True)
class Exchange:
    """A request and its progress. Times are monotonic seconds."""

    request: Request
    asked: Asked
    clock: Clock
    timeouts: Timeouts
    added: float
    sent: float | None = None  # the last time it was sent
    first: float | None = None  # of its first token, if it streams
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        self.stream = Stream(self.asked.own_usage)

    def consumed(self) -> Consumed:
        """Return what it has consumed by now, as far as anybody outside can know it.

        The progress of a whole answer is unknown; its prompt is computed, or will be.
        """
        if self.sent is None:
            return Consumed()
        prompt = self.request.prompt_tokens
        return Consumed(prompt, self.stream.used.output_tokens or 0, self.stream.used.cached_tokens)

    async def run(self, door: Door, tell: Tell, end: Callable[[Done], None]) -> None:
        """Send the request once: `tell` its chunks, and `end` it. Raises Failure."""
        self.sent = self.clock.monotonic()
        whole_s = self.timeouts.whole_s
        do = self._streamed(door, tell, end) if self.asked.stream else self._whole(door, end)
        try:
            async with asyncio.timeout(self.added + whole_s - self.sent):
                await do
        except TimeoutError:
            raise Failure(f"the answer took longer than {whole_s:g} s", again=False) from None
        except TooLong as error:
            raise Failure(f"the backend sent {error}") from None

    async def _whole(self, door: Door, end: Callable[[Done], None]) -> None:
        async with door.post(self.asked) as response:
            body = await whole(response, MOST_ANSWER)
        found, at = read_whole(body), self.clock.monotonic()
        first = None if found.decode_s is None else max(self.sent or at, at - found.decode_s)
        end(self._done(found.used, at, first, body))

    async def _streamed(self, door: Door, tell: Tell, end: Callable[[Done], None]) -> None:
        limits = self.timeouts
        try:
            async with (
                asyncio.timeout(limits.first_s) as waiting,
                door.post(self.asked) as response,
            ):
                if "event-stream" not in response.content_type:
                    read_whole(await whole(response, MOST_ANSWER))  # it may tell an error
                    raise Failure("the backend does not stream what it was asked to", again=False)
                await self._read(response, tell, waiting)
                end(self._done(self.stream.used, self.clock.monotonic(), None, self.stream.whole))
                await _tail(response)
        except TimeoutError:
            if self.first is None:
                raise Failure(f"no token within {limits.first_s:g} s") from None
            raise Failure(f"nothing more came for {limits.between_s:g} s") from None

    async def _read(
        self, response: aiohttp.ClientResponse, tell: Tell, waiting: asyncio.Timeout
    ) -> None:
        """Pass chunks on until the server ends the stream."""
        reader, loop = EventReader(), asyncio.get_running_loop()
        while not self.stream.over:
            data = await response.content.readany()
            payloads = reader.feed(data) if data else reader.end()
            self._pass_on(payloads, tell)
            if not data:
                self.stream.check_ended()
                break
            if self.first is not None:
                waiting.reschedule(loop.time() + self.timeouts.between_s)

    def _pass_on(self, payloads: list[bytes], tell: Tell) -> None:
        events: list[Event] = []
        try:
            for payload in payloads:
                if self.stream.over:
                    break
                chunk = self.stream.take(payload)
                if chunk is None:
                    continue
                now, tokens = self.clock.monotonic(), self.stream.tokens
                if self.first is None:
                    self.first = now
                    events.append(Started(self.request.id, now, 1, 0, self.sent))
                events.append(Chunk(self.request.id, now, chunk, tokens))
        finally:  # chunks before an error are told before it
            if events:
                tell(events)

    def _done(self, used: Used, at: float, first: float | None, answer: bytes) -> Done:
        prompt = self.request.prompt_tokens if used.prompt_tokens is None else used.prompt_tokens
        return Done(
            self.request.id, at, used.output_tokens or 0, used.cached_tokens, self.sent, first,
            answer, prompt_tokens=prompt,
        )  # fmt: skip


async def _tail(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(TAIL_S):
            while await response.content.readany():
                pass
    except TimeoutError:
        pass


def pause_s(tries: int, failure: Failure, random: Random) -> float:
    """Return how long to wait before a busy server is asked again, the n-th time (from 1).

    As long as it asked for, and a little more, so that those it sent away do not come together.
    """
    own = min(MOST_PAUSE_S, PAUSE_S * 2.0 ** min(tries - 1, 10))
    if failure.pause_s is not None:
        return failure.pause_s + random.uniform(0.0, max(PAUSE_S, failure.pause_s / 4))
    return random.uniform(own / 2, own)
