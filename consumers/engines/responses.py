"""Answers of `/v1/responses`: one message of one text, whole or as the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from parallax.consumers.engines.writing import End, Usage

#: What the API says of a response that has no tools and keeps nothing.
_PLAIN: dict[str, Any] = {
    "error": None, "instructions": None, "metadata": {}, "parallel_tool_calls": False,
    "previous_response_id": None, "store": False, "temperature": None, "tool_choice": "none",
    "tools": [], "top_p": None,
}  # fmt: skip


@dataclass(slots=True)
class ResponseWriter:
    """Writes a response; each event of its stream has a number and a type."""

    id: str
    created: int
    model: str
    _number: int = 0
    _events: list[bytes] = field(default_factory=list)

    def more(self, text: str, *, first: bool) -> list[bytes]:
        """See `writing.Writer`."""
        if first:
            self._open()
        self._say("response.output_text.delta", **self._place, delta=text, logprobs=[])
        return self._said()

    def last(self, end: End) -> list[bytes]:
        """See `writing.Writer`."""
        if not self._number:
            self._open()
        part, item = _part(end.text), self._item("completed", [_part(end.text)])
        self._say("response.output_text.done", **self._place, text=end.text, logprobs=[])
        self._say("response.content_part.done", **self._place, part=part)
        self._say("response.output_item.done", output_index=0, item=item)
        document = self._response(end)
        self._say(f"response.{document['status']}", response=document)
        return self._said()

    def whole(self, end: End) -> bytes:
        """See `writing.Writer`."""
        return msgspec.json.encode(self._response(end))

    def _open(self) -> None:
        begun = self._document("in_progress", [])
        self._say("response.created", response=begun)
        self._say("response.in_progress", response=begun)
        item = self._item("in_progress", [])
        self._say("response.output_item.added", output_index=0, item=item)
        self._say("response.content_part.added", **self._place, part=_part(""))

    def _say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._events.append(msgspec.json.encode(event))
        self._number += 1

    def _said(self) -> list[bytes]:
        said, self._events = self._events, []
        return said

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self.id}", "output_index": 0, "content_index": 0}

    def _response(self, end: End) -> dict[str, Any]:
        cut = end.reason == "length"
        document = self._document(
            "incomplete" if cut else "completed",
            [self._item("incomplete" if cut else "completed", [_part(end.text)])],
        )
        why = {"reason": "max_output_tokens"} if cut else None
        return {**document, "incomplete_details": why, "usage": _usage(end.usage)}

    def _document(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": f"resp_{self.id}", "object": "response", "created_at": self.created}
        return {**head, "status": status, "model": self.model, "output": output, **_PLAIN,
                "incomplete_details": None, "usage": None}  # fmt: skip

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": f"msg_{self.id}", "type": "message", "role": "assistant",
                "status": status, "content": content}  # fmt: skip


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
