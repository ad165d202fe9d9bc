"""Parallax: a durable, fair queue and scheduler on Redis Streams in front of LLM engines.

What a program needs is here: `from parallax import Client, Job`. It is loaded when it is first
asked for, since most processes (`parallax --help`, workers) do without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallax.broker.store.codec import Report
    from parallax.broker.store.confirming import Replicated
    from parallax.broker.store.intake import Receipt
    from parallax.broker.store.results import Record
    from parallax.core.errors import (
        BrokenAnswer,
        Conflict,
        InvalidInput,
        NotCompleted,
        ParallaxError,
        Refused,
        StoreFull,
        TimedOut,
        Unreachable,
    )
    from parallax.core.lifecycle import Outcome
    from parallax.core.model import Job
    from parallax.producers.client.async_client import AsyncClient
    from parallax.producers.client.async_stream import AsyncStream
    from parallax.producers.client.cells import Cells
    from parallax.producers.client.chat import answer_text, chat, chunk_text
    from parallax.producers.client.client import Client
    from parallax.producers.client.completion import Completion
    from parallax.producers.client.stream import Stream
    from parallax.producers.client.tenant_client import TenantClient

__version__ = "0.1.0"

__all__ = [
    "AsyncClient", "AsyncStream", "BrokenAnswer", "Cells", "Client", "Completion", "Conflict",
    "InvalidInput", "Job", "NotCompleted", "Outcome", "ParallaxError", "Receipt", "Record",
    "Refused", "Replicated", "Report",
    "StoreFull", "Stream", "TenantClient", "TimedOut", "Unreachable", "answer_text", "chat",
    "chunk_text",
]  # fmt: skip

_HOMES = {
    "AsyncClient": "producers.client.async_client", "AsyncStream": "producers.client.async_stream",
    "Cells": "producers.client.cells", "Client": "producers.client.client",
    "Completion": "producers.client.completion", "Stream": "producers.client.stream",
    "TenantClient": "producers.client.tenant_client", "answer_text": "producers.client.chat",
    "chat": "producers.client.chat", "chunk_text": "producers.client.chat", "Job": "core.model",
    "Outcome": "core.lifecycle", "Receipt": "broker.store.intake",
    "Record": "broker.store.results", "Report": "broker.store.codec",
    "Replicated": "broker.store.confirming",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'core.errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
