"""What a gateway looks up in the store beside its jobs, over connections of its own.

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

#: How old what is known of the policies may be (seconds).
POLICY_S = 5.0

_ENDED = tuple(outcome.value for outcome in Outcome)


@dataclass(slots=True)
class Looking:
    """Everything here may block, and is called beside the loop: each look in a thread of its own.

    So each has a connection of its own, too: on a shared one it would be told what another asked.
    """

    link: Link
    keys: Keys
    keys_link: Link = field(init=False)
    totals_link: Link = field(init=False)
    routing_link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.keys_link, self.totals_link, self.routing_link = (self.link.twin() for _ in range(3))

    def members(self) -> list[Member]:
        """Return the workers."""
        return Membership(self.link, self.keys).members()

    def known_keys(self) -> Mapping[str, ApiKey] | None:
        """Return the API keys; None if there never was one."""
        keyring = Keyring(self.keys_link, self.keys)
        return keyring.known() if keyring.any() else None

    def totals(self) -> Totals:
        """Return how much of the cell's work is done, and how many tenants wait."""
        counts = Results(self.totals_link, self.keys).counts()
        tenants = int(self.totals_link.call("SCARD", self.keys.active))
        return Totals(sum(counts.get(name, 0) for name in _ENDED), tenants)

    def routing(self) -> str:
        """Return the routing policy in force; '' where nobody has said it yet."""
        store = PolicyStore(self.routing_link, self.keys)
        chosen = store.read().overrides.get("routing") or store.started().get("routing")
        return chosen.name if chosen else ""

    def close(self) -> None:
        """Drop the connections."""
        for link in (self.link, self.keys_link, self.totals_link, self.routing_link):
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
