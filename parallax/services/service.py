"""The shape of a long-running duty: `run_once` works, `run` only repeats it until told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from random import Random
from typing import Protocol

from parallax.core.errors import ParallaxError, Unreachable

log = logging.getLogger(__name__)

#: Waits after a failed turn: full jitter up to base * 2^n, capped, in seconds.
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.05, 2.0


class Service(Protocol):
    """A duty that can be repeated and left."""

    def run_once(self) -> None:
        """Do one turn of work; may wait for news, never longer than two seconds."""

    def recover(self, error: ParallaxError) -> None:
        """A turn failed: drop what may no longer be true."""

    def close(self) -> None:
        """Leave in good order."""


def run(service: Service, stop: threading.Event, random: Random) -> None:
    """Repeat `run_once` until `stop` is set; a failed turn is logged and tried again later."""
    failures = 0
    try:
        while not stop.is_set():
            try:
                service.run_once()
                failures = 0
            except ParallaxError as error:
                level = logging.WARNING if isinstance(error, Unreachable) else logging.ERROR
                log.log(level, "%s: %s", type(error).__name__, error)
                service.recover(error)
                stop.wait(random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**failures)))
                failures = min(failures + 1, 10)
    finally:
        service.close()


def stop_on_signals(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Call `first` on the first SIGTERM, SIGINT or SIGHUP, `second` on every further one."""
    orders = iter((first,))

    def on_signal(_number: int, _frame: object) -> None:
        next(orders, second)()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: the terminal may go
        signal.signal(signal.SIGHUP, on_signal)
