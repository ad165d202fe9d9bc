"""The scheduler process: holds the lease, feeds the scheduler from Redis, commits what it decides.

    standby --lease acquired--> a term: take over (read everything from Redis) --> turn, turn ...
       ^                                                                             |
       +----------- any error or a lost lease: the term is dropped ------------------+

This process itself keeps no more than its name, its connection, and the keeper of its lease: what
a leader knows is its `Term`. The lease is renewed beside all of it (`lease_keeper`): neither a slow
network nor a large cell can take so long that nobody leads.
"""

from __future__ import annotations

import logging

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.settings import Policies, SchedulerSettings
from parallax.services.lease_keeper import LeaseKeeper
from parallax.services.term import Post, Term
from parallax.telemetry.scheduling import SchedulingMetrics
from parallax.telemetry.tracing import OFF, Tracer

log = logging.getLogger(__name__)


class SchedulerService:
    """One candidate for leadership; see the module's docstring."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        candidate: str,
        settings: SchedulerSettings,
        policies: Policies,
        clock: Clock,
        metrics: SchedulingMetrics,
        limits: Limits | None = None,
        tracer: Tracer = OFF,
    ) -> None:
        self._post = Post(
            link, keys, settings, policies, clock, metrics, limits or Limits(), tracer
        )  # fmt: skip
        self._candidate = candidate
        self._leadership = self._led_by(link)
        self._keeper: LeaseKeeper | None = None
        self._term: Term | None = None

    def _led_by(self, link: Link) -> Leadership:
        lease_ms = int(self._post.settings.lease_s * 1000)
        return Leadership(link, self._post.keys, self._candidate, lease_ms)

    @property
    def leading(self) -> bool:
        """Whether this process is the leader, as far as it knows."""
        return self._term is not None

    def run_once(self) -> None:
        """Stand by for a while, or take one turn as the leader."""
        if self._term is None or self._keeper is None:
            self._stand_by()
        elif not self._term.turn():
            self._term = self._begun(self._term.lease, self._keeper)

    def recover(self, error: Exception) -> None:
        """Drop the term: the truth is in Redis, and the next term reads it from there."""
        self._term = None
        self._let_the_lease_go()
        self._post.metrics.failed(error)
        self._post.metrics.leading(False)
        self._post.link.close()

    def close(self) -> None:
        """Resign, so that a standby takes over at once."""
        self._let_the_lease_go()
        if self._term is not None:
            try:
                self._term.keep()
                self._leadership.resign(self._term.lease)
            except ParallaxError as error:
                log.warning("could not resign: %s", error)
        self._post.link.close()

    def _stand_by(self) -> None:
        lease = self._leadership.acquire()
        if lease is None:
            self._post.clock.wait(self._post.settings.lease_s / 4)
            return
        self._let_the_lease_go()  # of an earlier try that failed
        link = self._post.link.twin()
        keeper = LeaseKeeper(link, self._led_by(link), lease, self._post.settings, self._post.clock)
        self._keeper = keeper
        keeper.start()
        self._term = self._begun(lease, keeper)
        self._post.metrics.leading(True)
        log.info("leading with epoch %s", lease.epoch)

    def _begun(self, lease: Lease, keeper: LeaseKeeper) -> Term:
        """Return a term that has read the state in Redis."""
        term = Term(self._post, self._leadership, lease, keeper)
        term.take_over()
        return term

    def _let_the_lease_go(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
