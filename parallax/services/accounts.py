"""What a leader knows of the tenants' accounts, and forgetting those that say nothing.

A new leader reads the accounts that are above the level: those of tenants who are ahead of what
they are due. There are few of them. Only where the ledger is full of accounts that nobody has
forgotten yet does reading take long; then the leader begins after some pages, looks up whoever acts
before it is told of, and reads the others beside its work.

The same pages are read for ever, one at each poll: what says nothing is forgotten on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parallax.broker.dispatching import Lease
from parallax.broker.ledger import SYSTEM, Ledger
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
            level, above, _ = self._page()
            found = {**found, **above, SYSTEM: level}
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
        """Read one page: learn what is new on it and forget what says nothing. Raises Fenced."""
        first = not self._complete
        _, above, idle = self._page()
        self._ledger.forget(lease, idle)
        if not first:
            return []
        return [AccountRestored(t, a) for t, a in above.items() if t not in self._known]

    def _page(self) -> tuple[float, dict[str, float], Sequence[str]]:
        """Return the level, and of the next page what is above it and what is not."""
        self._cursor, level, page = self._ledger.page(self._cursor)
        known_level = 0.0 if level is None else level
        above = {
            t: a for t, a in page.items() if a is not None and a > known_level and NAME.fullmatch(t)
        }
        idle = [] if level is None else [tenant for tenant in page if tenant not in above]
        if self._cursor == _START and not self._complete:
            self._complete = True
        return known_level, above, idle


def _tenant(event: Event) -> str:
    if isinstance(event, JobArrived | AttemptRestored):
        return event.job.tenant
    return event.tenant if isinstance(event, AttemptEnded) else ""
