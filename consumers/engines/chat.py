"""OpenAI chat completions as engines speak them: reading requests, writing chunks and answers.

Only what an engine of this package needs is read; fields that are not known here are passed over,
as the API wants it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from parallax.core.errors import InvalidInput

_Limit = Annotated[int, msgspec.Meta(ge=1)] | None


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class StreamOptions(msgspec.Struct):
    """What a request says of the stream of its answer."""

    include_usage: bool | None = None


class _Request(msgspec.Struct):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    model: str = ""
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    stream_options: StreamOptions | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A request as an engine needs it: what was said, and the most tokens of the answer."""

    texts: tuple[str, ...]
    max_tokens: int | None = None
    model: str = ""
    include_usage: bool = False  # a last chunk of a stream that tells the usage


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request consumed, in tokens."""

    prompt_tokens: int
    completion_tokens: int

    def document(self) -> dict[str, int]:
        """Return it as the API tells it."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


def read_chat(body: bytes) -> Chat:
    """Read a body; raises InvalidInput that names the field."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", body[:60], f"must be JSON ({error})") from None
    try:
        request = msgspec.convert(document, _Request)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$")
        value = _value_at(document, where)
        raise InvalidInput(f"body{where}", value, f"{what[:1].lower()}{what[1:]}") from None
    return Chat(
        tuple(_text(message) for message in request.messages),
        request.max_completion_tokens or request.max_tokens,
        request.model,
        request.stream_options is not None and bool(request.stream_options.include_usage),
    )


def _text(message: _Message) -> str:
    content = message.content
    if isinstance(content, list):
        return " ".join(part.text for part in content if part.type == "text")
    return content or ""


def _value_at(document: Any, path: str) -> object:
    """Return what stands at a path such as `.messages[0].role`."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        try:
            document = document[name or int(index)]
        except (LookupError, TypeError):
            return None
    return document


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the chunks and the answer of one request. `created` is in seconds since the epoch."""

    id: str
    created: int
    model: str

    def chunk(self, content: str, *, first: bool) -> bytes:
        """Return the payload of a `data:` line that goes on with the answer."""
        delta = {"role": "assistant", "content": content} if first else {"content": content}
        return self._part({"index": 0, "delta": delta, "finish_reason": None})

    def last_chunk(self, finish_reason: str) -> bytes:
        """Return the payload that says why the answer ends."""
        return self._part({"index": 0, "delta": {}, "finish_reason": finish_reason})

    def usage_chunk(self, usage: Usage) -> bytes:
        """Return the payload that tells the usage of a stream."""
        return msgspec.json.encode(
            {**self._head("chat.completion.chunk"), "choices": [], "usage": usage.document()}
        )

    def answer(self, content: str, finish_reason: str, usage: Usage) -> bytes:
        """Return the whole answer."""
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        head = self._head("chat.completion")
        return msgspec.json.encode({**head, "choices": [choice], "usage": usage.document()})

    def _part(self, choice: dict[str, object]) -> bytes:
        return msgspec.json.encode({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, object]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }
