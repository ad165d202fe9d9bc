"""Reads what an exporter adds to the overview of a cell: ages, the lease, the server itself.

It is read with plain commands that the role `observer` may use, in two round trips, whatever waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.errors import StoreFault, Unusable

_SECTIONS = ("memory", "clients", "stats", "cpu", "persistence")


@dataclass(frozen=True, slots=True)
class Beside:
    """See the module's docstring."""

    oldest_s: Mapping[str, float]  # tenant -> how long the first entry of its stream is there
    lease_left_s: float
    server: Mapping[str, str]  # what the server tells of itself; empty if it may not be asked


def look_beside(link: Link, keys: Keys, tenants: Sequence[str], now: float) -> Beside:
    """Look once; `now` is the server's time."""
    found = link.calls(
        [
            ("PTTL", keys.leader),
            *(("XRANGE", keys.arrivals(name), "-", "+", "COUNT", 1) for name in tenants),
        ]
    )
    ages = {name: _age(first, now) for name, first in zip(tenants, found[1:], strict=True)}
    return Beside(ages, max(0.0, found[0] / 1000), _told(link))


def _age(entries: Sequence[tuple[bytes, object]], now: float) -> float:
    """Return how long the first of these entries is there: its id begins with the time."""
    if not entries:
        return 0.0
    return max(0.0, now - int(entries[0][0].partition(b"-")[0]) / 1000)


def _told(link: Link) -> dict[str, str]:
    """Return what the server says of itself; a user that may not ask goes without."""
    try:
        texts = link.calls([("INFO", section) for section in _SECTIONS])
    except Unusable:
        raise
    except StoreFault:
        return {}
    lines = b"\n".join(texts).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
