"""Several answers to one request as one: their choices numbered, their usage summed up.

Each answer is a job of its own. The prompt is the same for all of them and is told once; of several
prompts each is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from parallax.core.errors import ParallaxError
from parallax.producers.client.completion import Completion
from parallax.producers.gateway.leaving import over
from parallax.producers.gateway.problems import Code, Problem
from parallax.producers.gateway.streaming import Chunks

log = logging.getLogger(__name__)

#: Chunks of all answers that wait to be sent.
MOST_WAITING = 64

_decode, _encode = msgspec.json.decode, msgspec.json.encode


def whole(answers: Sequence[bytes], prompts: int) -> bytes:
    """Return answers as one document; there are as many of each of the prompts."""
    documents = [_decode(answer) for answer in answers]
    choices = [
        {**choice, "index": index}
        for index, document in enumerate(documents)
        for choice in document.get("choices", ())[:1]
    ]
    usage = summed([document.get("usage") or {} for document in documents], prompts)
    return _encode({**documents[0], "choices": choices, "usage": usage})


def summed(usages: Sequence[dict[str, Any]], prompts: int) -> dict[str, Any]:
    """Return the usage of all answers: each prompt once, every answer."""
    times = max(1, len(usages) // prompts)
    asked = sum(_count(one, "prompt_tokens") for one in usages[::times])
    said = sum(_count(one, "completion_tokens") for one in usages)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
    }


def _count(usage: dict[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if type(found) is int else 0


@dataclass(slots=True)
class Merged:
    """Streams as one: see `streaming.Chunks`. Whatever fails in one of them fails all."""

    streams: Sequence[Chunks]
    prompts: int
    completion: Completion | None = None
    _queue: asyncio.Queue[bytes | Exception | None] = field(init=False)
    _pumps: list[asyncio.Task[None]] = field(default_factory=list)
    _usages: dict[int, dict[str, Any]] = field(default_factory=dict)
    _left: int = 0
    _head: dict[str, Any] = field(default_factory=dict)

    async def __anext__(self) -> bytes:
        """Return the next chunk of any of them; raises what one of them raises."""
        if not self._pumps:
            self._queue = asyncio.Queue(MOST_WAITING)
            self._left = len(self.streams)
            self._pumps = [
                asyncio.ensure_future(self._pump(index, stream))
                for index, stream in enumerate(self.streams)
            ]
        while self._left:
            told = await self._queue.get()
            if isinstance(told, bytes):
                return told
            if told is not None:
                raise told
            self._left -= 1
        if self._usages:
            usages = [self._usages.get(index, {}) for index in range(len(self.streams))]
            self._usages = {}
            return _encode({**self._head, "choices": [], "usage": summed(usages, self.prompts)})
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave: those jobs are cancelled that have not ended."""
        await over(*self._pumps)
        await asyncio.gather(*(one.aclose() for one in self.streams), return_exceptions=True)

    async def _pump(self, index: int, stream: Chunks) -> None:
        try:
            while True:
                chunk = self._numbered(index, await stream.__anext__())
                if chunk is not None:
                    await self._queue.put(chunk)
        except StopAsyncIteration:
            await self._queue.put(None)
        except (ParallaxError, Problem) as error:  # the reader is told of it
            self.completion = stream.completion
            await self._queue.put(error)
        except Exception:
            log.exception("a chunk of one of several answers could not be read")
            said = "a chunk of one of several answers cannot be read"
            await self._queue.put(Problem(502, Code.NO_ANSWER, said, retry=False))

    def _numbered(self, index: int, data: bytes) -> bytes | None:
        """Return a chunk of one answer as that of all of them; None for one that is kept back."""
        chunk = _decode(data)
        if not self._head:
            self._head = {name: chunk[name] for name in ("id", "object", "created", "model")
                          if name in chunk}  # fmt: skip
        usage = chunk.get("usage")
        if isinstance(usage, dict) and not chunk.get("choices"):
            self._usages[index] = usage
            return None
        choices = [{**choice, "index": index} for choice in chunk.get("choices") or ()]
        return _encode({**chunk, **self._head, "choices": choices})
