"""Server-sent events: the lines of a streamed answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from parallax.core.text import printable
from parallax.producers.gateway.problems import Problem

DONE = b"data: [DONE]\n\n"
_BREAK = re.compile(rb"\r\n|\r|\n")


def event(data: bytes) -> bytes:
    """Return an event with this payload; one of several lines cannot forge another event."""
    if b"\n" not in data and b"\r" not in data:
        return b"data: " + data + b"\n\n"
    return b"".join(b"data: " + line + b"\n" for line in _BREAK.split(data)) + b"\n"


def failure(problem: Problem) -> bytes:
    """Return the last event of a stream that fails after its head was sent."""
    return event(msgspec.json.encode(problem.document()))


def comment(text: str) -> bytes:
    """Return a comment: clients pass it over, and proxies see that somebody is there."""
    return f": {printable(text)}\n\n".encode("ascii", "replace")


class _Typed(msgspec.Struct):
    type: str = ""


_TYPE = msgspec.json.Decoder(_Typed)
_NAME = re.compile(r"[a-z][a-z._]{0,63}")
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def _type_of(data: bytes) -> str:
    try:
        return _TYPE.decode(data).type
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def ends_response(data: bytes) -> bool:
    """Whether a chunk of a response says that it has ended."""
    return _type_of(data) in _ENDS


def named_event(data: bytes) -> bytes:
    """Return an event of a response: it has the name that its payload has."""
    name = _type_of(data)
    return (f"event: {name}\n".encode() if _NAME.fullmatch(name) else b"") + event(data)


def response_failure(problem: Problem) -> bytes:
    """Return the last event of a streamed response that fails after its head was sent."""
    told = {"type": "error", "code": problem.code, "message": problem.message,
            "param": problem.param, "sequence_number": 0}  # fmt: skip
    return named_event(msgspec.json.encode(told))


@dataclass(frozen=True, slots=True)
class Form:
    """How a path of the API writes its streams.

    A chunk that `ends` an answer by itself is held back until it is known that the job ended well.
    """

    event: Callable[[bytes], bytes]
    failure: Callable[[Problem], bytes]
    done: bytes
    ends: Callable[[bytes], bool]


CHUNKS = Form(event, failure, DONE, lambda _: False)
RESPONSES = Form(named_event, response_failure, b"", ends_response)
