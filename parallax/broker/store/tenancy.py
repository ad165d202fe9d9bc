"""Tenants' weights, and finding out cheaply that one has changed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from math import inf

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.keys import Keys
from parallax.core.model import NAME, check_name, check_number

#: This field of the hash is another number after each change; it is no tenant's name.
CHANGES = "*changes"

_START = "0"
#: About so many weights are read in one go, and so many times by one call of `news`.
_PAGE, _PAGES = 2_500, 4


class Tenancy:
    """The hash `tenants`: name -> weight. A tenant that is not in it has the weight 1."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._known: dict[str, float] = {}
        self._changes: bytes | None = None
        self._cursor: str | None = None  # None: nothing is being read
        self._again = False  # something changed while it was read
        self._seen: set[str] = set()

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Set weights; raises InvalidInput for a bad name or weight."""
        if weights:
            self._link.call(*weights_command(self._keys, weights))

    def weights(self) -> dict[str, float]:
        """Return all weights, without entries that are none. O(tenants)."""
        found, cursor = dict[str, float](), ""
        while cursor != _START:
            cursor, page = self._page(cursor or _START)
            found |= page
        return found

    def _page(self, cursor: str) -> tuple[str, dict[str, float]]:
        """Return the next cursor ("0" at the end) and some weights."""
        following, flat = self._link.call("HSCAN", self._keys.tenants, cursor, "COUNT", _PAGE)
        pairs, found = iter(flat), dict[str, float]()
        for name, text in zip(pairs, pairs, strict=True):
            tenant = name.decode("ascii", "replace")
            weight = _number(text)
            if NAME.fullmatch(tenant) and 0 < weight < inf:
                found[tenant] = weight
        return following.decode(), found

    def changes(self) -> bytes | None:
        """Return a mark that every change by `set_weights` replaces."""
        return self._link.call("HGET", self._keys.tenants, CHANGES)  # type: ignore[no-any-return]

    def news(self, changes: bytes | None, look: bool = False) -> dict[str, float]:
        """Return the weights that are new since the last call; `changes` is what stands there now.

        Weights are read only when that number has changed, or when told to `look` (somebody may
        have written to the hash by hand); about ten thousand of them by one call, and the rest by
        those that follow.
        """
        if changes != self._changes or look:
            self._changes = changes
            self._again = self._cursor is not None
            self._cursor = self._cursor or _START
        news: dict[str, float] = {}
        for _ in range(_PAGES):
            if self._cursor is None:
                break
            self._cursor, page = self._page(self._cursor)
            news |= {t: weight for t, weight in page.items() if self._known.get(t) != weight}
            self._known |= page
            self._seen |= page.keys()
            if self._cursor == _START:
                news |= self._read_all()
        return news

    def _read_all(self) -> dict[str, float]:
        """Reset the weight of vanished tenants to the default; begin anew if there was a change."""
        gone = self._known.keys() - self._seen
        for tenant in gone:
            del self._known[tenant]
        self._seen.clear()
        self._cursor, self._again = (_START if self._again else None), False
        return dict.fromkeys(gone, 1.0)


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def weights_command(keys: Keys, weights: Mapping[str, float]) -> list[Argument]:
    """Build the command that sets weights; raises InvalidInput for a bad name or weight."""
    pairs: list[Argument] = []
    for tenant, weight in weights.items():
        check_name("tenant", tenant)
        check_number("weight", weight, 1e-6, 1e6)
        pairs += (tenant, repr(weight))
    # Not a counter: the next mark differs from any value that stands there.
    return ["HSET", keys.tenants, *pairs, CHANGES, secrets.randbits(52)]
