"""Requests of OpenAI's API as the engines of this package read them.

Only what such an engine needs is read; fields that are not known here are passed over, as the API
wants it. A body is decoded once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from parallax.broker.api import paths
from parallax.broker.api.shapes import Item, Message, StreamOptions, is_tokens, texts_of
from parallax.core.errors import InvalidInput

_Limit = Annotated[int, msgspec.Meta(ge=1)] | None

#: What stands for a token whose text nobody here knows.
UNKNOWN = "token"


class _Request(msgspec.Struct):
    """Every kind of request at once: which one it is, its fields tell."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)] | None = None
    prompt: str | list[str | int | list[int]] | None = None
    input: str | list[Any] | None = None
    parallax_path: str | None = None
    model: str = ""
    instructions: str | None = None
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    max_output_tokens: _Limit = None
    stream_options: StreamOptions | None = None
    encoding_format: str = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None


_DECODER = msgspec.json.Decoder(_Request)
_ITEMS = list[Item]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an engine needs it: the prompt, and the most tokens of the answer."""

    path: str
    texts: tuple[str, ...]
    max_tokens: int | None = None
    model: str = ""
    include_usage: bool = False  # a last chunk of a stream that tells the usage
    base64: bool = False  # embeddings as text, not as numbers
    dimensions: int | None = None


def read(body: bytes) -> Asked:
    """Read a body; raises InvalidInput that names the field."""
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(body, error, "") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", body[:60], f"must be JSON ({error})") from None
    there = [name for name in paths.TELLING if getattr(request, name) is not None]
    path = paths.path_of(request.parallax_path, there)
    if path is None:
        wanted = "must have messages, a prompt or an input"
        raise InvalidInput("body", body[:60], wanted)
    return Asked(
        path,
        _texts(path, request, body),
        request.max_completion_tokens or request.max_output_tokens or request.max_tokens,
        request.model,
        request.stream_options is not None and bool(request.stream_options.include_usage),
        request.encoding_format == "base64",
        request.dimensions,
    )


def _texts(path: str, request: _Request, body: bytes) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    if path == paths.CHAT and request.messages:
        found = tuple(" ".join(texts_of(message.content)) for message in request.messages)
    elif path == paths.COMPLETIONS and request.prompt is not None:
        prompt = request.prompt
        found = (_prompt(prompt[0] if isinstance(prompt, list) and prompt
                         and isinstance(prompt[0], list) else prompt),)  # fmt: skip
    elif path == paths.RESPONSES and request.input is not None:
        found = _said(request.input, body)
    elif path == paths.EMBEDDINGS and request.input is not None:
        found = _inputs(request.input)
    elif path == paths.TOKENIZE:
        raise InvalidInput("path", path, "this engine has no tokenizer")
    if not found:
        raise InvalidInput("body", body[:60], f"has nothing that {path} could answer")
    return found


def _prompt(prompt: Any) -> str:
    """Return a prompt, or what stands for its tokens."""
    if isinstance(prompt, str):
        return prompt
    return " ".join(one if isinstance(one, str) else UNKNOWN for one in prompt)


def _said(found: str | list[Any], body: bytes) -> tuple[str, ...]:
    if isinstance(found, str):
        return (found,)
    try:
        items = msgspec.convert(found, _ITEMS)
    except msgspec.ValidationError as error:
        raise _invalid(body, error, ".input") from None
    return tuple(" ".join(texts_of(item.content)) for item in items if item.content is not None)


def _inputs(found: str | list[Any]) -> tuple[str, ...]:
    """Return the texts that are to be embedded."""
    if isinstance(found, str) or is_tokens(found):
        return (_prompt(found),)
    if not all(isinstance(one, str) or is_tokens(one) for one in found):
        raise InvalidInput("body.input", str(found)[:60], "texts, or lists of tokens")
    return tuple(map(_prompt, found))


def _invalid(body: bytes, error: msgspec.ValidationError, inside: str) -> InvalidInput:
    what, _, path = str(error).partition(" - at ")
    where = inside + path.strip("`").removeprefix("$")
    value = _value_at(msgspec.json.decode(body), where)
    return InvalidInput(f"body{where}", value, f"{what[:1].lower()}{what[1:]}")


def _value_at(document: Any, path: str) -> object:
    """Return what stands at a path such as `.messages[0].role`."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        try:
            document = document[name or int(index)]
        except (LookupError, TypeError):
            return None
    return document
