"""Parts of requests that all readers share; other fields are passed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Part(msgspec.Struct):
    """A part of a message's content: a text, or a kind that is not read here."""

    type: str = ""
    text: str = ""


class Message(msgspec.Struct):
    """A message of a chat."""

    role: str
    content: str | list[Part] | None = None


class Item(msgspec.Struct):
    """An item of a response's input: a message, or something else (`type`)."""

    type: str = "message"
    role: str = "user"
    content: str | list[Part] | None = None
    output: Any = None  # of a tool that was called


class StreamOptions(msgspec.Struct):
    """A request's options for the stream of its answer."""

    include_usage: bool | None = None


def texts_of(content: str | Sequence[Part] | None) -> list[str]:
    """Return the texts of a message, one a part."""
    if isinstance(content, str):
        return [content]
    return [part.text for part in content or () if part.text]


def is_tokens(found: object) -> bool:
    """Whether this is a list of tokens' ids."""
    return isinstance(found, list) and bool(found) and isinstance(found[0], int)
