"""Tenants' weights, and finding out cheaply that one has changed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from math import inf

from parallax.broker.connection import Argument, Link
from parallax.broker.keys import Keys
from parallax.core.model import NAME, check_name, check_number

#: This field of the hash is another number after each change; it is no tenant's name.
_CHANGES = "*changes"


class Tenancy:
    """The hash `tenants`: name -> weight. Who is not in it has the weight 1."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._known: dict[str, float] = {}
        self._changes: bytes | None = None

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Set weights; raises InvalidInput for a bad name or weight."""
        if not weights:
            return
        pairs: list[Argument] = []
        for tenant, weight in weights.items():
            check_name("tenant", tenant)
            check_number("weight", weight, 1e-6, 1e6)
            pairs += (tenant, repr(weight))
        tenants = self._keys.tenants
        # Not a counter: whatever stands there, what is written next differs from it.
        self._link.call("HSET", tenants, *pairs, _CHANGES, secrets.randbits(52))

    def weights(self) -> dict[str, float]:
        """Return all weights; what is no weight of a tenant is left out. O(tenants)."""
        flat = iter(self._link.call("HGETALL", self._keys.tenants))
        found = {}
        for name, text in zip(flat, flat, strict=True):
            tenant = name.decode("ascii", "replace")
            weight = _number(text)
            if NAME.fullmatch(tenant) and 0 < weight < inf:
                found[tenant] = weight
        return found

    def news(self, look: bool = False) -> dict[str, float]:
        """Return the weights that are new since the last call.

        All weights are read only when that number has changed, or when told to `look` (somebody may
        have written to the hash by hand): with ten thousand tenants that is no small reading.
        """
        changes = self._link.call("HGET", self._keys.tenants, _CHANGES)
        if changes == self._changes and not look:
            return {}
        self._changes, before, self._known = changes, self._known, self.weights()
        news = {t: weight for t, weight in self._known.items() if before.get(t) != weight}
        return news | dict.fromkeys(before.keys() - self._known.keys(), 1.0)


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
