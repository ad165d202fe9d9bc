"""OpenAI plain completions, beside the chats of `chat`: a prompt instead of messages."""

from __future__ import annotations

from typing import Any

import msgspec

from parallax.consumers.engines.chat import Chat, StreamOptions, Usage, Writer
from parallax.core.errors import InvalidInput

#: What stands for a token whose text nobody here knows.
_UNKNOWN = "token"


class _Request(msgspec.Struct):
    prompt: str | list[str | int | list[int]]
    model: str = ""
    max_tokens: int | None = None
    stream_options: StreamOptions | None = None


class _Kind(msgspec.Struct):
    """What tells a completion from a chat."""

    prompt: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()


def is_completion(body: bytes) -> bool:
    """Whether a body asks for a plain completion: it has a prompt, and no messages."""
    try:
        found = msgspec.json.decode(body, type=_Kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return bool(bytes(found.prompt)) and not bytes(found.messages)


def read_completion(body: bytes) -> Chat:
    """Read a body; raises InvalidInput that says what is wrong."""
    try:
        request = msgspec.json.decode(body, type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", body[:60], f"a completion request ({error})") from None
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidInput("body.max_tokens", request.max_tokens, "1 or more")
    options = request.stream_options
    include = options is not None and bool(options.include_usage)
    return Chat((_text(request.prompt),), request.max_tokens, request.model, include)


def _text(prompt: Any) -> str:
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    return " ".join(one if isinstance(one, str) else _UNKNOWN for one in prompt)


class CompletionWriter(Writer):
    """Writes the chunks and the answer of a plain completion."""

    def chunk(self, content: str, *, first: bool) -> bytes:
        """See `Writer`."""
        return self._text_part(content, None)

    def last_chunk(self, finish_reason: str) -> bytes:
        """See `Writer`."""
        return self._text_part("", finish_reason)

    def answer(self, content: str, finish_reason: str, usage: Usage) -> bytes:
        """See `Writer`."""
        document = {**self._head(""), "choices": [_choice(content, finish_reason)]}
        return msgspec.json.encode({**document, "usage": usage.document()})

    def _text_part(self, text: str, finish_reason: str | None) -> bytes:
        return msgspec.json.encode({**self._head(""), "choices": [_choice(text, finish_reason)]})

    def _head(self, _: str) -> dict[str, object]:
        return {**super()._head("text_completion"), "id": f"cmpl-{self.id}"}


def _choice(text: str, finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
