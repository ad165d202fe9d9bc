"""Text jobs: a prompt as the body of a job, and the text of what engines send back.

Bodies are chat-completions requests of the OpenAI form, as JSON; an answer is a whole
`chat.completion` document, and a chunk of a stream the JSON of one `data:` line. Nobody between
the producer and the engine reads any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import msgspec

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job, check_int

#: Longest answer to a prompt, unless somebody says otherwise (tokens).
USUAL_MAX_TOKENS = 64

#: About how long a token is (bytes of UTF-8): an estimate without a tokenizer.
TOKEN_BYTES = 4

#: Longest prompt (bytes of UTF-8); a store may take less.
MOST_PROMPT = 1 << 20


def chat(
    prompt: str, *, max_tokens: int = USUAL_MAX_TOKENS, stream: bool = False,
    prompt_tokens: int | None = None, **fields: Any,
) -> tuple[Job, bytes]:  # fmt: skip
    """Return a job that asks this, and its body; `fields` are the other fields of the job.

    The length of the prompt is estimated unless it is given. Raises InvalidInput.
    """
    body = request(prompt, max_tokens, stream=stream)
    length = estimated_tokens(prompt) if prompt_tokens is None else prompt_tokens
    return Job(prompt_tokens=length, max_tokens=max_tokens, stream=stream, **fields), body


def request(prompt: str, max_tokens: int, *, stream: bool = False) -> bytes:
    """Return the body of a chat request; raises InvalidInput for a prompt or a number unfit."""
    _check_prompt(prompt)
    check_int("max_tokens", max_tokens, 1, MAX_TOKENS)
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
    }
    return encoded(asked | ({"stream": True} if stream else {}))


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a request as the bytes that are sent: JSON in ASCII, without spaces."""
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return ceil(len(text.encode("utf-8", "replace")) / TOKEN_BYTES)


def estimated_prompt(body: Mapping[str, Any]) -> int:
    """Return about how many tokens the prompt of a request has: what its messages say."""
    return sum(map(estimated_tokens, _said(body.get("messages"))))


def longest_answer(body: Mapping[str, Any]) -> int | None:
    """Return how many tokens a request allows; None if it does not say."""
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            check_int(name, body[name], 1, MAX_TOKENS)
            return int(body[name])
    return None


def chunk_text(chunk: bytes) -> str | None:
    """Return what a chunk adds to the answer; None if it is not of that form."""
    try:
        found = _CHUNK.decode(chunk)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return "".join(one.delta.content or one.text or "" for one in found.choices if not one.index)


def answer_text(answer: bytes) -> str | None:
    """Return what a whole answer says; None if it is not of that form."""
    try:
        found = _ANSWER.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return next((one.message.content or "" for one in found.choices if not one.index), None)


def _check_prompt(prompt: object) -> None:
    allowed = f"text of 1 to {MOST_PROMPT} bytes of UTF-8"
    if not isinstance(prompt, str) or not prompt:
        raise InvalidInput("prompt", prompt, allowed)
    try:
        size = len(prompt.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidInput("prompt", prompt, allowed) from None
    if size > MOST_PROMPT:
        raise InvalidInput("prompt", f"{size} bytes", allowed)


def _said(messages: object) -> Sequence[str]:
    """Return the texts of messages; a content may be a text or a list of parts with texts."""
    if not isinstance(messages, list):
        return ()
    contents = [one.get("content") for one in messages if isinstance(one, dict)]
    parts = [part for one in contents if isinstance(one, list) for part in one]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in (*contents, *texts) if isinstance(text, str)]


class _Delta(msgspec.Struct):
    content: str | None = None


class _Part(msgspec.Struct):
    """A choice in a chunk: of a chat (`delta`), or of a plain completion (`text`)."""

    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Part]


class _Choice(msgspec.Struct):
    message: _Delta
    index: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_CHUNK, _ANSWER = msgspec.json.Decoder(_Chunk), msgspec.json.Decoder(_Answer)
