"""The shape of a long-running duty: `run_once` works, `run` only repeats it until told to stop."""

from __future__ import annotations

import logging
import threading
from random import Random
from typing import Protocol

from parallax.core.errors import ParallaxError, StoreFull, Unreachable

log = logging.getLogger(__name__)

#: Waits after a failed turn: full jitter up to base * 2^n, capped, in seconds.
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.05, 2.0
#: Good turns in a row after which the next failure is taken for a new one.
STEADY = 20


class Service(Protocol):
    """A duty that can be repeated and left."""

    def run_once(self) -> None:
        """Do one turn of work; may wait for news, never longer than two seconds."""

    def recover(self, error: Exception) -> None:
        """A turn failed: drop what may no longer be true."""

    def close(self) -> None:
        """Leave in good order."""


def run(service: Service, stop: threading.Event, random: Random) -> None:
    """Repeat `run_once` until `stop` is set; a failed turn is logged and tried again later.

    No exception of one turn ends the loop: what is bad is one message or one value, and thousands
    of jobs depend on the turns after it. Failures that follow each other wait longer and longer,
    and are logged at the first, the second, the fourth, the eighth ...
    """
    failures = good = 0
    try:
        while not stop.is_set():
            try:
                service.run_once()
                good += 1
                failures = 0 if good >= STEADY else failures
            except Exception as error:  # noqa: BLE001 - see above; what it was is logged and counted
                good, failures = 0, failures + 1
                tell(error, failures)
                _recover(service, error)
                longest = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10))
                stop.wait(random.uniform(0, longest))
    finally:
        service.close()


def is_told(failures: int) -> bool:
    """Whether the n-th failure in a row is logged: the first, second, fourth, eighth ... are."""
    return not failures & (failures - 1)


def tell(error: Exception, failures: int) -> None:
    """Log the n-th failure in a row, if it is one that is told of."""
    if not is_told(failures):
        return
    again = f" (failure {failures} in a row)" if failures > 1 else ""
    passing = isinstance(error, Unreachable | StoreFull)
    level = logging.WARNING if passing else logging.ERROR
    expected = isinstance(error, ParallaxError)
    log.log(
        level, "%s: %s%s", type(error).__name__, error, again, exc_info=None if expected else error
    )


def _recover(service: Service, error: Exception) -> None:
    try:
        service.recover(error)
    except Exception:
        log.exception("could not drop what may no longer be true; the next turn tries again")
