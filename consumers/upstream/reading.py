"""Answers of servers, as they come: payloads of a stream one by one, or one whole document."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import msgspec

from parallax.consumers.upstream.assembly import Assembly
from parallax.consumers.upstream.failure import Failure, of_error
from parallax.consumers.upstream.responses import Response

DONE = b"[DONE]"

#: About how long a token is (bytes), where a server does not say how many there were.
TOKEN_BYTES = 4

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Used:
    """The consumption of a request, as far as the server reports it."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0


def used(usage: Any) -> Used:
    """Read a `usage`; a value that is no number is unknown. Responses have other names in it."""
    if not isinstance(usage, dict):
        return Used()
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    output = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    return Used(prompt, 0 if output is None and prompt is not None else output, cached or 0)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


@dataclass(slots=True)
class Stream:
    """A streamed answer. `take` its payloads; `whole` is what they come to."""

    own_usage: bool  # a chunk that only tells the usage is for us, and not passed on
    tokens: int = 0  # counted by chunks that say something
    over: bool = False  # the server has said `[DONE]`
    usage: Any = None
    assembly: Assembly = field(default_factory=Assembly)
    response: Response = field(default_factory=Response)

    def take(self, payload: bytes) -> bytes | None:
        """Return the part of a payload to pass on; None if clients need none. Raises Failure."""
        if payload == DONE:
            self.over = True
            return None
        chunk = _document(payload)
        if "error" in chunk and chunk["error"] is not None:
            raise of_error(chunk["error"])
        if "type" in chunk and "choices" not in chunk:
            if self.response.add(chunk, payload):
                self.tokens += 1
            self.usage, self.over = self.response.usage, self.response.document is not None
            return payload
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
            if self.own_usage and not chunk.get("choices"):
                return None
        if self.assembly.add(chunk, len(payload)):
            self.tokens += 1
        return payload

    def check_ended(self) -> None:
        """The server has closed the stream; raises Failure if something is missing."""
        if not self.over and not self.assembly.finished:
            raise Failure("the backend closed the stream before the end of the answer")

    @property
    def used(self) -> Used:
        """The consumption; the chunks are counted where the server does not report it."""
        told = used(self.usage)
        tokens = self.tokens if told.output_tokens is None else told.output_tokens
        return Used(told.prompt_tokens, tokens, told.cached_tokens)

    @property
    def whole(self) -> bytes:
        """The answer in one document."""
        if self.response.document is not None:
            return self.response.document
        return self.assembly.document(self.usage if isinstance(self.usage, dict) else None)


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that came at once."""

    used: Used
    decode_s: float | None = None  # how long it took from the first token on, where that is told


def read_whole(body: bytes) -> Whole:
    """Read a whole answer; raises Failure if it is none."""
    document = _document(body)
    if "error" in document and document["error"] is not None:
        raise of_error(document["error"])
    told = used(document.get("usage"))
    tokens = ceil(len(body) / TOKEN_BYTES) if told.output_tokens is None else told.output_tokens
    timings = document.get("timings")  # llama.cpp
    took = timings.get("predicted_ms") if isinstance(timings, dict) else None
    decode_s = took / 1000 if isinstance(took, int | float) and 0 <= took < 1e9 else None
    return Whole(Used(told.prompt_tokens, tokens, told.cached_tokens), decode_s)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        found = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Failure(f"the backend sent what is no JSON: {payload[:60]!r}") from None
    if not isinstance(found, dict):
        raise Failure(f"the backend sent what is no answer: {payload[:60]!r}")
    return found
