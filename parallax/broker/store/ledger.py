"""The hash `ledger`: what every tenant was charged, and the level from which who is new starts.

An account at or below that level says nothing: its tenant is where one that was never seen would
be. Such accounts are forgotten, so that the hash follows the tenants that are ahead of the level
and not all that ever were. It is read a page at a time: a cell that had three million tenants
before accounts were forgotten has a hash that takes seconds to read at once, and nobody else is
served meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import isfinite

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon, led
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.core.pages import pages
from parallax.core.words import Forgotten

#: Under this field stands the level (`FairnessPolicy.accounts`).
SYSTEM = ""

#: About so many accounts are read at once: some milliseconds of the server's time.
PAGE = 5_000

#: Most accounts that one run of the script forgets.
_FORGOTTEN = 1_000

_WORDS = Lexicon(Forgotten)


class Ledger:
    """Reads accounts, and forgets those that say nothing."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def page(self, cursor: str) -> tuple[str, float | None, dict[str, float | None]]:
        """Return the next cursor ("0" at the end), the level, and a page of accounts.

        One round trip. None stands for a value that is no finite number, and for a missing level.
        """
        ledger = self._keys.ledger
        level, (following, flat) = self._link.calls(
            [("HGET", ledger, SYSTEM), ("HSCAN", ledger, cursor, "COUNT", PAGE)]
        )
        pairs = iter(flat)
        accounts = {
            name.decode("utf-8", "surrogateescape"): _number(text)
            for name, text in zip(pairs, pairs, strict=True)
        }
        accounts.pop(SYSTEM, None)
        return following.decode(), _number(level), accounts

    def of(self, tenants: Iterable[str]) -> dict[str, float]:
        """Return the accounts of these tenants, as far as they have one."""
        found: dict[str, float] = {}
        for page in pages(list(tenants), PAGE):
            texts = self._link.call("HMGET", self._keys.ledger, *page)
            numbers = zip(page, map(_number, texts), strict=True)
            found |= {tenant: number for tenant, number in numbers if number is not None}
        return found

    def forget(self, lease: Lease, tenants: Sequence[str]) -> int:
        """Forget those of these accounts that say nothing; return how many. Raises Fenced."""
        raw = [tenant.encode("utf-8", "surrogateescape") for tenant in tenants]
        calls = [forget_call(self._keys, lease, page) for page in pages(raw, _FORGOTTEN)]
        return sum(words.count(Forgotten.FORGOTTEN) for words in self._link.do_each(calls))


def forget_call(keys: Keys, lease: Lease, tenants: Sequence[bytes]) -> Call[list[Forgotten]]:
    """Build what forgets those of these accounts that say nothing."""
    names = [keys.leader, keys.ledger]
    args: list[Argument] = [lease.token, *tenants]
    return Call(script("forget"), names, args, partial(led, _WORDS.words))


def _number(text: bytes | None) -> float | None:
    try:
        number = float(text or b"")
    except ValueError:
        return None
    return number if isfinite(number) else None
