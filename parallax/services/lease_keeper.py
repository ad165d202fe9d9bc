"""Keeps the leader's lease while the leader works: a thread of its own, with its own connection.

The work of a turn may take longer than the lease lasts: a take-over of a large fleet, a slow
network. Renewed between turns the lease would be lost under such work, the next leader would lose
it under the same work, and nobody would ever come to serve. So it is renewed beside the loop, and
only as long as the loop makes progress: one that hangs must lose the lease, and does.
"""

from __future__ import annotations

import logging
import threading

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.membership import Leadership
from parallax.core.clock import Clock
from parallax.core.errors import Fenced, ParallaxError
from parallax.core.settings import SchedulerSettings

log = logging.getLogger(__name__)

#: Renewals in the time that a lease lasts.
RENEWALS = 4
#: Pause after a renewal that was not answered (seconds).
AGAIN_S = 0.05


class LeaseKeeper:
    """Renews one lease until it is stopped, the lease is lost, or the loop hangs."""

    def __init__(
        self,
        link: Link,
        leadership: Leadership,
        lease: Lease,
        settings: SchedulerSettings,
        clock: Clock,
    ) -> None:
        self._link, self._leadership, self._lease = link, leadership, lease
        self._settings, self._clock = settings, clock
        self._stop = threading.Event()
        self._lost, self._failed = "", False
        self._progress = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def progressed(self) -> None:
        """The loop is alive: it has done one bounded piece of its work."""
        self._progress = self._clock.monotonic()

    def check(self) -> None:
        """Raise Fenced if the lease is lost: what the loop believes may be old."""
        if self._lost:
            raise Fenced(self._lost)

    def stop(self) -> None:
        """Renew no more. Does not wait: a renewal on its way is refused if somebody else leads."""
        self._stop.set()

    def renew(self) -> bool:
        """Renew once; return whether there is anything to renew any more."""
        if self._clock.monotonic() - self._progress > self._settings.stall_s:
            self._lost = f"the loop made no progress for {self._settings.stall_s:g} s"
            log.error("%s; the lease is left to others", self._lost)
            return False
        try:
            self._leadership.renew(self._lease)
            self._failed = False
        except Fenced as error:
            self._lost = str(error)
            return False
        except ParallaxError as error:
            self._failed = True
            log.warning("the lease is not renewed just now: %s", error)
        return True

    def _pause_s(self) -> float:
        return AGAIN_S if self._failed else self._settings.lease_s / RENEWALS

    def _run(self) -> None:
        try:
            # At once: to connect takes several round trips, and the lease may not last that long.
            while self.renew() and not self._stop.wait(self._pause_s()):
                pass
        finally:
            self._link.close()
