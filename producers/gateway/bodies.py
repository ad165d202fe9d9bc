"""Bodies of requests: how they come in, and what is read of them.

A body is stored as it came: engines read it, and the gateway only what it must know itself.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from parallax.core.model import MAX_TOKENS
from parallax.producers.client.chat import TOKEN_BYTES
from parallax.producers.gateway.problems import Code, Problem
from parallax.producers.gateway.settings import GatewaySettings

#: Deepest nesting of a body: an engine may read all of it.
MOST_DEEP = 64

_Tokens = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] | None
_One = Annotated[int, msgspec.Meta(ge=1, le=1)] | None
_Name = Annotated[str, msgspec.Meta(max_length=512)] | None
_TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Common(msgspec.Struct):
    """What both kinds of requests say; fields that are not here are the engine's."""

    model: Annotated[str, msgspec.Meta(max_length=256)] = ""
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Tokens = None
    max_completion_tokens: _Tokens = None
    n: _One = None
    user: _Name = None
    safety_identifier: _Name = None
    prompt_cache_key: _Name = None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    priority: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | None = None


class ChatRequest(_Common, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    tools: msgspec.Raw = msgspec.Raw()

    def told(self) -> bytes:
        """Return what the engine is told before its answer, in its order."""
        said = [bytes(self.tools)]
        for message in self.messages:
            content = message.content
            parts = content if isinstance(content, list) else [_Part("text", content or "")]
            said += [message.role.encode(), *(part.text.encode() for part in parts)]
        return b"\n".join(said)


class CompletionRequest(_Common, kw_only=True):
    """The body of `/v1/completions`: a text, or the ids of its tokens."""

    prompt: (
        str | Annotated[list[str | _TokenId | list[_TokenId]], msgspec.Meta(min_length=1)]
    )  # a list: of one text, of tokens, or of one list of tokens

    def __post_init__(self) -> None:
        found = self.prompt
        if isinstance(found, list) and len(found) > 1 and not all(type(t) is int for t in found):
            raise ValueError("several prompts in one request are not served; send one each")

    def told(self) -> bytes:
        """Return the prompt; a token counts as many bytes as tokens usually have."""
        found: Any = self.prompt
        if isinstance(found, list) and not isinstance(found[0], int):
            found = found[0]
        if isinstance(found, str):
            return found.encode()
        return b"".join(token.to_bytes(TOKEN_BYTES, "big") for token in found)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is understood; `body` is stored and read by the engine."""

    body: bytes
    said: _Common
    prompt: bytes

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as it is made."""
        return bool(self.said.stream)

    @property
    def max_tokens(self) -> int | None:
        """The longest answer that is wanted; None where the request does not say."""
        return self.said.max_completion_tokens or self.said.max_tokens


R = TypeVar("R", ChatRequest, CompletionRequest)

_CHAT = msgspec.json.Decoder(ChatRequest)
_COMPLETION = msgspec.json.Decoder(CompletionRequest)


def _decoded(decoder: msgspec.json.Decoder[R], body: bytes) -> R:
    """Decode a body; raises Problem that names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        said = f"{where or 'body'}: {what[:1].lower()}{what[1:]}"
        raise Problem(400, Code.INVALID, said, param=where or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = f"the body must be JSON ({str(error)[:200]})"
        raise Problem(400, Code.INVALID_JSON, said) from None


def chat_asked(body: bytes) -> Asked:
    """Understand the body of a chat; raises Problem."""
    _check_depth(body)
    request = _decoded(_CHAT, body)
    return Asked(body, request, request.told())


def completion_asked(body: bytes) -> Asked:
    """Understand the body of a plain completion; raises Problem."""
    _check_depth(body)
    request = _decoded(_COMPLETION, body)
    return Asked(body, request, request.told())


def _check_depth(body: bytes) -> None:
    """Refuse what is nested so deep that whoever reads all of it might not get through.

    Only what has many brackets can be, so it is rare that all of it is read for this.
    """
    if body.count(b"[") + body.count(b"{") <= MOST_DEEP:
        return
    deep = Problem(400, Code.INVALID_JSON, f"the body is nested deeper than {MOST_DEEP}")
    try:
        layer: list[Any] = [msgspec.json.decode(body)]
    except RecursionError:
        raise deep from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # it is told what is wrong where it is decoded
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

    # No number is needed, and Python refuses to read those of thousands of digits.
    json.loads(body.decode(), object_pairs_hook=read, parse_int=str, parse_float=str)


async def read_body(request: Request, settings: GatewaySettings) -> bytes:
    """Return the body; raises Problem if it is too large, too slow, or of another kind.

    Raises ClientDisconnect if whoever sends it leaves.
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
    "Asked", "ClientDisconnect", "chat_asked", "check_unambiguous", "completion_asked", "read_body",
]  # fmt: skip
