"""Trace contexts as W3C writes them: which trace a job belongs to, and which part of it began it.

A context is the text of a `traceparent` header: `00-<32 hex>-<16 hex>-<2 hex>`. It travels with a
job from whoever submits it to the engine, and means nothing to whoever decides about the job.
"""

from __future__ import annotations

import re

from parallax.core.errors import InvalidInput

#: What a context looks like. Versions above 00 begin the same; `ff` is none.
_CONTEXT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_RULE = "a traceparent of W3C: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, not all zeros"

#: How long a context is, in characters.
LENGTH = 55


def is_context(text: str) -> bool:
    """Whether a text is a context that a job can carry."""
    return len(text) == LENGTH and _CONTEXT.fullmatch(text) is not None


def check_context(where: str, value: object) -> None:
    """Refuse anything but a context."""
    if not isinstance(value, str) or not is_context(value):
        raise InvalidInput(where, value, _RULE)


def context_in(header: str | None) -> str:
    """Return the context that a header tells; '' for none, and for one that is none.

    That of a version to come may be longer: what is known of it goes on as version 00.
    """
    if not header:
        return ""
    told = header.strip()
    if told[:2] != "00" and told[LENGTH : LENGTH + 1] == "-":
        told = told[:LENGTH]
    return f"00{told[2:]}" if is_context(told) else ""


def trace_id(context: str) -> str:
    """Return the name of the trace of a context; '' where there is none."""
    return context[3:35] if context else ""


def is_sampled(context: str) -> bool:
    """Whether whoever began the trace wants its parts to be told."""
    return bool(context) and bool(int(context[-2:], 16) & 1)
