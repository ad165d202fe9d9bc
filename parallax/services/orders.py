"""Maps signals to a command's orders: stop, then stop now, then exit at once.

    1st SIGINT, SIGTERM or SIGHUP   stop in good order, and say what is known so far
    2nd                             do not wait for anybody any more
    3rd                             leave at once; a guardian ends the processes that are left

Handlers only set flags, and whoever waits looks at them: nothing is torn in the middle.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The user wants this command to end. `code` is the exit code that says so."""

    def __init__(self, code: int) -> None:
        super().__init__(f"interrupted (exit code {code})")
        self.code = code


class Orders:
    """The orders given so far. Without `with` it hears none, and only `hurry` gives one.

    `stopping` is called within the handler of the first signal: it may set flags and nothing more.
    """

    def __init__(self, stopping: Callable[[], None] = lambda: None) -> None:
        self._stopping = stopping
        self.stop, self.now = threading.Event(), threading.Event()
        self.code = 0  # of the process, as shells count: 128 and the first signal's number
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Orders:
        for number in ENDING:
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the terminal may go
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.now.is_set():
            os._exit(128 + number)
        if self.stop.is_set():
            self.now.set()
        self.code = self.code or 128 + number
        self.stop.set()
        if not self.now.is_set():
            self._stopping()

    def hurry(self) -> None:
        """Stop now: do not wait for the rest."""
        self.stop.set()
        self.now.set()

    def check(self) -> None:
        """Raise Interrupted once there is an order to stop."""
        if self.stop.is_set():
            raise Interrupted(self.code)
