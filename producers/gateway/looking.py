"""A gateway's own lookups in the store, over two connections beside those of its jobs.

Workers, keys, policies and totals: each no more often than it may be old, in threads beside the
loop. Who may only look is enough for all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(slots=True)
class Looking:
    """Everything here may block, and is called beside the loop."""

    link: Link
    keys: Keys
    other: Link = field(init=False)  # keys are asked for in threads of their own

    def __post_init__(self) -> None:
        self.other = self.link.twin()

    def members(self) -> list[Member]:
        """Return the workers."""
        return Membership(self.link, self.keys).members()

    def known_keys(self) -> Mapping[str, ApiKey] | None:
        """Return the API keys; None if there never was one."""
        keyring = Keyring(self.other, self.keys)
        return keyring.known() if keyring.any() else None

    def totals(self) -> Totals:
        """Return how much of the cell's work is done, and how many tenants wait."""
        counts = Results(self.other, self.keys).counts()
        tenants = int(self.other.call("SCARD", self.keys.active))
        return Totals(sum(counts.get(name, 0) for name in _ENDED), tenants)

    def routing(self) -> str:
        """Return the routing policy in force; '' where nobody has said it yet."""
        store = PolicyStore(self.other, self.keys)
        chosen = store.read().overrides.get("routing") or store.started().get("routing")
        return chosen.name if chosen else ""

    def close(self) -> None:
        """Drop both connections."""
        self.link.close()
        self.other.close()


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
