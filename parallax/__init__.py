"""Parallax: a durable, fair queue and scheduler on Redis Streams in front of LLM engines.

What a program needs is here: `from parallax import Client, Job`. It is loaded when it is first
asked for, since most of what starts (`parallax --help`, workers) does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallax.broker.store.codec import Report
    from parallax.broker.store.intake import Receipt
    from parallax.broker.store.results import Record
    from parallax.core.errors import (
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
    from parallax.producers.cells import Cells
    from parallax.producers.client import Client
    from parallax.producers.completion import Completion
    from parallax.producers.tenant_client import TenantClient

__version__ = "0.1.0"

__all__ = [
    "Cells", "Client", "Completion", "Conflict", "InvalidInput", "Job", "NotCompleted", "Outcome",
    "ParallaxError", "Receipt", "Record", "Refused", "Report", "StoreFull", "TenantClient",
    "TimedOut", "Unreachable",
]  # fmt: skip

_HOMES = {
    "Cells": "producers.cells", "Client": "producers.client", "Completion": "producers.completion",
    "Job": "core.model", "Outcome": "core.lifecycle", "Receipt": "broker.intake",
    "Record": "broker.results", "Report": "broker.codec",
    "TenantClient": "producers.tenant_client",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'core.errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
