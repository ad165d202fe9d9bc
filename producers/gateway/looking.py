"""A gateway's own lookups in the store, over three connections beside those of its jobs.

Workers, keys, policies and totals: each no more often than it may be old, in threads beside the
loop. Who may only look is enough for all of it.

Reads overlap: they are different questions, and one whose client has left goes on in its thread. So
each connection is used by one thread at a time, or one would take the replies of another for its
own. Keys have a connection that nothing else waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import ApiKey, Keyring
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member, Membership
from parallax.broker.store.policies import PolicyStore
from parallax.broker.store.results import Results
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import Outcome
from parallax.producers.gateway.fresh import Fresh
from parallax.producers.gateway.pace import Totals

#: How old the copy of the policies may be (seconds).
POLICY_S = 5.0

_ENDED = tuple(outcome.value for outcome in Outcome)


class Own:
    """A link that one thread uses at a time."""

    def __init__(self, link: Link) -> None:
        self._link, self._lock = link, threading.Lock()

    @contextmanager
    def held(self) -> Iterator[Link]:
        """Wait for it, and have it alone."""
        with self._lock:
            yield self._link


@dataclass(slots=True)
class Looking:
    """Everything here may block, and is called beside the loop."""

    link: Link
    keys: Keys
    _workers: Own = field(init=False)
    _keyring: Own = field(init=False)
    _rest: Own = field(init=False)

    def __post_init__(self) -> None:
        self._workers, self._keyring = Own(self.link), Own(self.link.twin())
        self._rest = Own(self.link.twin())

    def members(self) -> list[Member]:
        """Return the workers."""
        with self._workers.held() as link:
            return Membership(link, self.keys).members()

    def known_keys(self) -> Mapping[str, ApiKey] | None:
        """Return the API keys; None if there never was one."""
        with self._keyring.held() as link:
            keyring = Keyring(link, self.keys)
            return keyring.known() if keyring.any() else None

    def totals(self) -> Totals:
        """Return how much of the cell's work is done, and how many tenants wait."""
        with self._rest.held() as link:
            counts = Results(link, self.keys).counts()
            tenants = int(link.call("SCARD", self.keys.active))
        return Totals(sum(counts.get(name, 0) for name in _ENDED), tenants)

    def routing(self) -> str:
        """Return the routing policy in force; '' where nobody has said it yet."""
        with self._rest.held() as link:
            store = PolicyStore(link, self.keys)
            chosen = store.read().overrides.get("routing") or store.started().get("routing")
        return chosen.name if chosen else ""

    def close(self) -> None:
        """Drop the connections."""
        for own in self._workers, self._keyring, self._rest:
            with own.held() as link:
                link.close()


class Routing:
    """The routing policy in force, as answers tell it."""

    def __init__(self, looking: Looking, clock: Clock) -> None:
        self._name = Fresh(looking.routing, clock, POLICY_S)

    async def headers(self) -> Mapping[str, str]:
        """Return the header that names it; nothing where that is not known."""
        try:
            name = await self._name.get()
        except ParallaxError:
            return {}
        return {"x-parallax-policy": name} if name else {}
