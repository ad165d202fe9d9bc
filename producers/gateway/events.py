"""Server-sent events: the lines of a streamed answer."""

from __future__ import annotations

import re

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
