"""The heartbeat of a worker: a thread of its own, gated by the progress of the main loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.settings import WorkerSettings
from parallax.services.service import is_told

log = logging.getLogger(__name__)

#: Renewals per time to live.
RENEWALS = 6

#: How long `stop` waits for a beat that is under way (seconds).
STOP_S = 1.0


class Heartbeat:
    """Keeps a worker's key alive while its main loop makes progress.

    A wedged main loop stops the beating, so that its jobs are given to others. A worker whose
    renewals fail knows it too: `fresh` is False once the key may have expired, and it begins
    nothing new until the next success.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        worker: str,
        incarnation: str,
        registration: Callable[[], Registration],
        settings: WorkerSettings,
        clock: Clock,
        report: Callable[[], Mapping[str, Argument]],
    ) -> None:
        self._link = link
        self._membership = Membership(link, keys)
        self._worker, self._incarnation, self._registration = worker, incarnation, registration
        self._settings, self._clock, self._report = settings, clock, report
        self._stop = threading.Event()
        self._registered: Registration | None = None
        self.reborn = threading.Event()  # set when the key had expired and was made again
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
        self._progress = self._renewed = clock.monotonic()

    def start(self) -> None:
        """Register, then keep beating. Raises Conflict if the name is taken."""
        self.beat()
        self._thread.start()

    def progressed(self) -> None:
        """The main loop is alive."""
        self._progress = self._clock.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether the key has surely not expired."""
        return self._clock.monotonic() - self._renewed < self._settings.heartbeat_s

    def beat(self) -> None:
        """Renew once, and publish the report."""
        started = self._clock.monotonic()
        ttl_ms = int(self._settings.heartbeat_s * 1000)
        registration = self._registration()
        new = self._membership.beat(self._worker, self._incarnation, ttl_ms, registration)
        if new and self._registered:
            self.reborn.set()
        if not new and registration != self._registered:  # a renewal leaves it as it is
            self._membership.amend(self._worker, registration)
        self._renewed, self._registered = started, registration
        self._membership.report(self._worker, ttl_ms, self._report())

    def stop(self) -> None:
        """Stop beating; the key is left to expire or to be deleted."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_S)
        self._link.close()

    def _loop(self) -> None:
        failures = 0
        while not self._stop.wait(self._settings.heartbeat_s / RENEWALS):
            if self._clock.monotonic() - self._progress > self._settings.stall_s:
                log.error("the main loop made no progress; the heartbeat pauses")
                continue
            try:
                self.beat()
                failures = 0
            except ParallaxError as error:
                failures += 1
                if is_told(failures):
                    log.warning("heartbeat: %s (failure %d in a row)", error, failures)
            except Exception:  # without a heartbeat all that runs here would be given to others
                log.exception("heartbeat: an error that nobody foresaw")
                self._link.close()
