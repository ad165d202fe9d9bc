"""Waiting in tests: for a described condition, with a deadline, never for a length of time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from parallax.services.clock import SystemClock


def wait_until(condition: Callable[[], object], description: str, timeout_s: float = 20.0) -> None:
    """Return when the condition holds; fail with its description when it does not in time."""
    clock, tick = SystemClock(), threading.Event()
    deadline = clock.monotonic() + timeout_s
    while not condition():
        assert clock.monotonic() < deadline, f"waited {timeout_s:g} s for: {description}"
        tick.wait(0.01)
