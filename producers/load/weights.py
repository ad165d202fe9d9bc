"""The weights of tenants that are in force while a load runs, and those that are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.tenancy import Tenancy
from parallax.core.cells import CellAddress, home
from parallax.core.errors import InvalidInput


def in_force(places: Sequence[CellAddress]) -> dict[str, float]:
    """Return the weights that are in force, each from its tenant's own cell."""
    shares = {place.name: place.weight for place in places}
    found: dict[str, float] = {}
    for place in places:
        link = Link.to(place.url)
        try:
            weights = Tenancy(link, Keys(place.name)).weights()
        finally:
            link.close()
        found |= {t: w for t, w in weights.items() if home(t, shares) == place.name}
    return found


def check_wanted(wanted: Mapping[str, float], found: Mapping[str, float]) -> None:
    """Raise InvalidInput for a wanted weight that differs from the one in force."""
    for tenant, weight in wanted.items():
        actual = found.get(tenant, 1.0)
        if actual != weight:
            raise InvalidInput(
                f"weight of {tenant}", weight,
                f"the running cell gives it {actual:g}: `parallax tenants set {tenant} --weight "
                f"{weight:g}` changes that, --workers N starts a system of its own",
            )  # fmt: skip
