"""Keeps the leader's copy of the tenants' accounts and prunes those that carry no information.

A new leader reads the accounts that are above the level: those of tenants who are ahead of what
they are due. There are few of them. Only where the ledger is full of accounts that nobody has
forgotten yet does reading take long; then the leader begins after some pages, looks up whoever acts
before it is told of, and reads the others beside its work.

The same pages are read for ever, one at each poll: what says nothing is forgotten on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from parallax.broker.store.dispatch import Lease
from parallax.broker.store.ledger import SYSTEM, Ledger
from parallax.core.model import NAME
from parallax.scheduling.events import (
    AccountRestored,
    AttemptEnded,
    AttemptRestored,
    Event,
    JobArrived,
)

#: Pages that are read before a leader begins.
FIRST_PAGES = 10

_START = "0"


class Accounts:
    """See the module's docstring."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cursor = _START
        self._complete = False
        self._known: set[str] = set()  # who has been looked up while that is not so

    @property
    def complete(self) -> bool:
        """Whether every account that says something has been read."""
        return self._complete

    def begin(self) -> dict[str, float]:
        """Return the level and the accounts above it, as far as they are read by now."""
        found: dict[str, float] = {}
        for _ in range(FIRST_PAGES):
            level, page = self._page()
            found |= _above(level, page)
            found[SYSTEM] = level or 0.0
            if self._complete:
                break
        return found

    def needed(self, events: Iterable[Event]) -> list[Event]:
        """Return the accounts of tenants that act in these events and are not known yet.

        One round trip if there are any; none once all have been read.
        """
        if self._complete:
            return []
        tenants = dict.fromkeys(name for name in map(_tenant, events) if name)
        new = [tenant for tenant in tenants if tenant not in self._known]
        self._known.update(new)
        found = self._ledger.of(new)
        return [AccountRestored(tenant, account) for tenant, account in found.items()]

    def tend(self, lease: Lease) -> list[Event]:
        """Read one page: learn its new accounts and prune the empty ones. Raises Fenced."""
        known = self._complete
        level, page = self._page()
        if level is not None:
            self._ledger.forget(lease, [t for t, a in page.items() if a is None or a <= level])
        if known:
            self._known.clear()
            return []
        above = _above(level, page)
        return [AccountRestored(t, a) for t, a in above.items() if t not in self._known]

    def _page(self) -> tuple[float | None, dict[str, float | None]]:
        self._cursor, level, page = self._ledger.page(self._cursor)
        self._complete = self._complete or self._cursor == _START
        return level, page


def _above(level: float | None, page: Mapping[str, float | None]) -> dict[str, float]:
    least = level or 0.0
    return {t: a for t, a in page.items() if a is not None and a > least and NAME.fullmatch(t)}


def _tenant(event: Event) -> str:
    if isinstance(event, JobArrived | AttemptRestored):
        return event.job.tenant
    return event.tenant if isinstance(event, AttemptEnded) else ""
