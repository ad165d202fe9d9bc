"""Answers of OpenAI's API as the engines of this package write them: chats and plain completions.

A writer formats one answer: the chunks of a stream, its last chunk, and the whole
document. `created` is in seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Usage:
    """The consumption of a request, in tokens."""

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


@dataclass(frozen=True, slots=True)
class End:
    """The end of an answer: its whole text, the reason, and its consumption."""

    text: str
    reason: str
    usage: Usage
    include_usage: bool = False  # whether a stream is to tell it


class Writer(Protocol):
    """Each payload is that of one `data:` line."""

    def more(self, text: str, *, first: bool) -> list[bytes]:
        """Return what goes on with a stream."""

    def last(self, end: End) -> list[bytes]:
        """Return what a stream ends with."""

    def whole(self, end: End) -> bytes:
        """Return the whole answer."""


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """Writes a chat's answer."""

    id: str
    created: int
    model: str

    def more(self, text: str, *, first: bool) -> list[bytes]:
        """See `Writer`."""
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return [self._part({"index": 0, "delta": delta, "finish_reason": None})]

    def last(self, end: End) -> list[bytes]:
        """See `Writer`."""
        last = self._part({"index": 0, "delta": {}, "finish_reason": end.reason})
        if not end.include_usage:
            return [last]
        head = self._head("chat.completion.chunk")
        return [last, _encode({**head, "choices": [], "usage": end.usage.document()})]

    def whole(self, end: End) -> bytes:
        """See `Writer`."""
        message = {"role": "assistant", "content": end.text}
        choice = {"index": 0, "message": message, "finish_reason": end.reason}
        head = self._head("chat.completion")
        return _encode({**head, "choices": [choice], "usage": end.usage.document()})

    def _part(self, choice: dict[str, object]) -> bytes:
        return _encode({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, object]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }


@dataclass(frozen=True, slots=True)
class CompletionWriter:
    """Writes a plain completion."""

    id: str
    created: int
    model: str

    def more(self, text: str, *, first: bool) -> list[bytes]:
        """See `Writer`."""
        return [self._part(text, None)]

    def last(self, end: End) -> list[bytes]:
        """See `Writer`."""
        last = self._part("", end.reason)
        if not end.include_usage:
            return [last]
        return [last, _encode({**self._head, "choices": [], "usage": end.usage.document()})]

    def whole(self, end: End) -> bytes:
        """See `Writer`."""
        choices = [_choice(end.text, end.reason)]
        return _encode({**self._head, "choices": choices, "usage": end.usage.document()})

    def _part(self, text: str, finish_reason: str | None) -> bytes:
        return _encode({**self._head, "choices": [_choice(text, finish_reason)]})

    @property
    def _head(self) -> dict[str, object]:
        return {
            "id": f"cmpl-{self.id}",
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
        }


def _choice(text: str, finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
