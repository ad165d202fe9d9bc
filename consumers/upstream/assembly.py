"""A streamed answer put together again: the document that the same request gives unstreamed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Longest answer that is put together (bytes of its chunks): beyond, none is.
MOST_ANSWER = 16 << 20

#: Texts of a delta that are said once, or again and again alike, and never go on.
_WHOLE = frozenset({"role", "id", "type"})


@dataclass(slots=True)
class _Choice:
    """One choice: texts as lists of their pieces, everything else as it came."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    logprobs: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Assembly:
    """Takes the chunks of one answer in order. O(length) in all."""

    most: int = MOST_ANSWER
    _head: dict[str, Any] = field(default_factory=dict)
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _size: int = 0
    _chat: bool = True

    @property
    def finished(self) -> bool:
        """Whether every choice has said why it ends."""
        return bool(self._choices) and all(c.finish_reason for c in self._choices.values())

    def add(self, chunk: dict[str, Any], size: int) -> bool:
        """Take a chunk of so many bytes; return whether it goes on with the answer."""
        self._size += size
        for name in ("id", "created", "model", "system_fingerprint"):
            if name in chunk and name not in self._head:
                self._head[name] = chunk[name]
        said = False
        for part in _dicts(chunk.get("choices")):
            index = part.get("index")
            choice = self._choices.setdefault(index if isinstance(index, int) else 0, _Choice())
            delta = part.get("delta")
            if not isinstance(delta, dict):
                self._chat = False
                delta = {"text": part.get("text")}
            said = self._take(choice, delta) or said
            reason = part.get("finish_reason")
            choice.finish_reason = reason if isinstance(reason, str) else choice.finish_reason
            self._log(choice, part.get("logprobs"))
        return said

    def document(self, usage: dict[str, Any] | None) -> bytes:
        """Return the whole answer; nothing if it is too long to be kept."""
        if self._size > self.most:
            return b""
        choices = [self._shown(index, one) for index, one in sorted(self._choices.items())]
        kind = "chat.completion" if self._chat else "text_completion"
        whole = {**self._head, "object": kind, "choices": choices}
        return msgspec.json.encode(whole if usage is None else {**whole, "usage": usage})

    def _take(self, choice: _Choice, delta: dict[str, Any]) -> bool:
        said = False
        for name, value in delta.items():
            if value is None:
                continue
            if isinstance(value, str) and name not in _WHOLE:
                said = said or bool(value)
                if self._size <= self.most:
                    choice.texts.setdefault(name, []).append(value)
            else:
                said = said or isinstance(value, list)
                if self._size <= self.most:
                    choice.others[name] = merged(choice.others.get(name), value)
        return said

    def _log(self, choice: _Choice, logprobs: Any) -> None:
        if isinstance(logprobs, dict) and self._size <= self.most:
            for name, value in logprobs.items():
                if isinstance(value, list):
                    choice.logprobs.setdefault(name, []).extend(value)

    def _shown(self, index: int, choice: _Choice) -> dict[str, Any]:
        texts = {name: "".join(parts) for name, parts in choice.texts.items()}
        shown: dict[str, Any] = {"index": index, "finish_reason": choice.finish_reason}
        if choice.logprobs:
            shown["logprobs"] = choice.logprobs
        if not self._chat:
            return {**shown, "text": texts.get("text", "")}
        message = {"role": "assistant", "content": None, **choice.others, **texts}
        return {**shown, "message": message}


def merged(before: Any, value: Any) -> Any:
    """Return what a field of a delta is after one more piece of it."""
    if isinstance(before, dict) and isinstance(value, dict):
        return {**before, **{k: _joined(k, before.get(k), v) for k, v in value.items()}}
    if isinstance(value, list):
        rows = list(before) if isinstance(before, list) else []
        for item in value:
            place = item.get("index") if isinstance(item, dict) else None
            at = next((n for n, row in enumerate(rows) if place is not None
                       and isinstance(row, dict) and row.get("index") == place), None)  # fmt: skip
            if at is None:
                rows.append(item)
            else:
                rows[at] = merged(rows[at], item)
        return rows
    return before if value is None else value


def _joined(name: str, before: Any, value: Any) -> Any:
    if isinstance(before, str) and isinstance(value, str) and name not in _WHOLE:
        return before + value
    return merged(before, value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
