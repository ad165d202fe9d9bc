"""One streamed request to a server, with the time of each of its pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from parallax.broker.api import paths
from parallax.consumers.upstream.asked import Asked
from parallax.consumers.upstream.door import Door
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.reading import Stream
from parallax.consumers.upstream.sse import EventReader, TooLong
from parallax.core.clock import Clock
from parallax.sim.calibration.points import Timed

#: Fields that keep servers from ending an answer early, where they are known to take them.
_FULL_LENGTH: Mapping[str, Mapping[str, object]] = {
    kind: {"ignore_eos": True} for kind in ("llamacpp", "vllm", "sglang")
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server is asked: its model, and the path that takes a text."""

    model: str
    kind: str
    chat: bool = False

    def asked(self, text: str, output_tokens: int) -> Asked:
        """Return a request for an answer of so many tokens."""
        said: dict[str, object] = (
            {"messages": [{"role": "user", "content": text}]} if self.chat else {"prompt": text}
        )
        body = {
            "model": self.model, **said, "max_tokens": output_tokens, "stream": True,
            "stream_options": {"include_usage": True}, **_FULL_LENGTH.get(self.kind, {}),
        }  # fmt: skip
        path = paths.CHAT if self.chat else paths.COMPLETIONS
        return Asked(path, msgspec.json.encode(body), stream=True, own_usage=True)


async def timed(
    door: Door, manner: Manner, text: str, output_tokens: int, clock: Clock, whole_s: float
) -> Timed:
    """Send a request and read its answer; raises Failure, also where no usage is told."""
    stream, reader, pieces = Stream(own_usage=True), EventReader(), list[float]()
    asked = manner.asked(text, output_tokens)
    sent = clock.monotonic()
    try:
        async with asyncio.timeout(whole_s), door.post(asked) as response:
            while not stream.over and (data := await response.content.readany()):
                before = stream.tokens
                for found in reader.feed(data):
                    if not stream.over:
                        stream.take(found)
                pieces += [clock.monotonic() * 1000] * (stream.tokens - before)
    except TimeoutError:
        raise Failure(f"no whole answer within {whole_s:g} s") from None
    except TooLong as error:
        raise Failure(f"the backend sent {error}") from None
    stream.check_ended()
    used = stream.used
    if used.prompt_tokens is None:
        raise Failure("the backend does not tell the usage of a stream (stream_options)")
    return Timed(
        sent * 1000, tuple(pieces), clock.monotonic() * 1000, used.prompt_tokens,
        used.cached_tokens, used.output_tokens or len(pieces),
    )  # fmt: skip
