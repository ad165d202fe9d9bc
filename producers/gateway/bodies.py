"""Bodies of requests: how they come in, how they are understood, and how one becomes several.

A body is stored as it came: engines read it, and the gateway only what it must know itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from parallax.broker.api import paths
from parallax.producers.gateway.problems import Code, Problem
from parallax.producers.gateway.requests import (
    ChatRequest,
    Common,
    CompletionRequest,
    EmbeddingsRequest,
    ResponsesRequest,
    TokenizeRequest,
)
from parallax.producers.gateway.settings import GatewaySettings

#: Deepest nesting of a body: an engine may read all of it.
MOST_DEEP = 64
#: Longest number that a body may hold: no engine needs more.
MOST_DIGITS = 400

#: What each path of the API is asked with.
REQUESTS: Mapping[str, type[Common]] = {
    paths.CHAT: ChatRequest,
    paths.COMPLETIONS: CompletionRequest,
    paths.RESPONSES: ResponsesRequest,
    paths.EMBEDDINGS: EmbeddingsRequest,
    paths.TOKENIZE: TokenizeRequest,
}
_DECODERS = {path: msgspec.json.Decoder(kind) for path, kind in REQUESTS.items()}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Paths that a body does not tell by itself.
_UNTOLD = frozenset({paths.RESPONSES, paths.EMBEDDINGS, paths.TOKENIZE})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is understood; `body` is stored and read by the engine."""

    body: bytes
    said: Common
    prompt: bytes
    path: str = paths.CHAT

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as it is made."""
        return bool(self.said.stream)

    @property
    def max_tokens(self) -> int | None:
        """The longest answer that is wanted; None where the request does not say."""
        return self.said.longest

    def each(self) -> list[Asked]:
        """Return a request for each of the answers that are wanted, in the order of their index."""
        if self.said.answers == 1:
            return [self]
        fields = _FIELDS.decode(self.body)
        fields.pop("n", None)
        prompts: list[Any] = [None]
        if isinstance(self.said, CompletionRequest):
            prompts = self.said.prompts
        times = self.said.answers // len(prompts)
        return [self._one(dict(fields), prompt, n) for prompt in prompts for n in range(times)]

    def _one(self, fields: dict[str, msgspec.Raw], prompt: Any, n: int) -> Asked:
        """Return the n-th request for an answer to a prompt: with a seed of its own."""
        told = self.prompt
        if prompt is not None:
            fields["prompt"] = msgspec.Raw(msgspec.json.encode(prompt))
            told = CompletionRequest(prompt=prompt).told()
        if n and "seed" in fields:
            fields["seed"] = _other_seed(fields["seed"], n)
        return Asked(msgspec.json.encode(fields), self.said, told, self.path)


def _other_seed(raw: msgspec.Raw, n: int) -> msgspec.Raw:
    """Return another seed: with the same one all answers would be the same."""
    seed = msgspec.json.decode(raw)
    moved = (seed + n) % 2**31 if type(seed) is int else seed
    return msgspec.Raw(msgspec.json.encode(moved))


def understood(path: str, body: bytes) -> Asked:
    """Understand the body of a request to this path; raises Problem that names the field."""
    _check_depth(body)
    request = _decoded(path, body)
    request.check()
    stored = paths.addressed(body, path) if path in _UNTOLD else body
    return Asked(stored, request, request.told(), path)


def _decoded(path: str, body: bytes) -> Common:
    try:
        return _DECODERS[path].decode(body)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        said = f"{where or 'body'}: {what[:1].lower()}{what[1:]}"
        raise Problem(400, Code.INVALID, said, param=where or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = f"the body must be JSON ({str(error)[:200]})"
        raise Problem(400, Code.INVALID_JSON, said) from None


def _check_depth(body: bytes) -> None:
    """Refuse bodies that are nested so deep that a reader might not get through.

    Only a body with many brackets can be, so it is rare that all of it is read for this.
    """
    if body.count(b"[") + body.count(b"{") <= MOST_DEEP:
        return
    deep = Problem(400, Code.INVALID_JSON, f"the body is nested deeper than {MOST_DEEP}")
    try:
        layer: list[Any] = [msgspec.json.decode(body)]
    except RecursionError:
        raise deep from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # the decoder reports the fault
    for _ in range(MOST_DEEP + 1):
        layer = [inner for one in layer for inner in _inside(one)]
        if not layer:
            return
    raise deep


def _inside(one: Any) -> list[Any]:
    values = list(one.values()) if isinstance(one, dict) else one
    return [v for v in values if isinstance(v, dict | list)] if isinstance(values, list) else []


def check_unambiguous(body: bytes) -> None:
    """Refuse a body that says a field twice: an engine might go by the one that was not checked."""

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Problem(400, Code.INVALID_JSON, "the body says a field twice")
        return found

    def number(text: str) -> str:
        if len(text) > MOST_DIGITS:
            raise Problem(400, Code.INVALID_JSON, f"a number has more than {MOST_DIGITS} digits")
        return text

    # No number is needed, and Python refuses to read those of thousands of digits.
    json.loads(body.decode(), object_pairs_hook=read, parse_int=number, parse_float=number)


async def read_body(request: Request, settings: GatewaySettings) -> bytes:
    """Return the body; raises Problem if it is too large, too slow, or of another kind.

    Raises ClientDisconnect if its sender leaves.
    """
    _check_headers(request, settings.max_body)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_s):
            async for part in request.stream():
                size += len(part)
                if size > settings.max_body:
                    raise _too_large(settings.max_body)
                parts.append(part)
    except TimeoutError:
        said = f"the body did not come within {settings.body_s:g} s"
        raise Problem(408, Code.BODY_TIMEOUT, said) from None
    return b"".join(parts)


def _check_headers(request: Request, most: int) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            400, Code.INVALID, "content-type: send application/json", param="content-type"
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        said = "content-encoding: send the body as it is"
        raise Problem(400, Code.INVALID, said, param="content-encoding")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and (len(length) > 18 or int(length) > most):
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem(413, Code.TOO_LARGE, f"the body has more than {most} bytes")


__all__ = [
    "REQUESTS", "Asked", "ClientDisconnect", "check_unambiguous", "read_body", "understood",
]  # fmt: skip
