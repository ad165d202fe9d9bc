"""The nightly maintenance of a cell, run by `parallax lab worker`: a digest of the day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from parallax.broker.link.connection import Link
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.keys import Keys
from parallax.core.errors import Unreachable
from parallax.services.clock import SystemClock

DAY_S = 24 * 3600.0
#: Of more dead letters only the newest are looked at.
MOST_LETTERS = 10_000
Digest = dict[str, object]


@dataclass(slots=True)
class Server:
    """The server that this worker was told: an address with a password is no argument of a job."""

    url: str = ""


SERVER = Server()


def maintain(cell: str) -> Digest:
    """Return how the cell's jobs ended since it began, and its dead letters of the last day."""
    if not SERVER.url:
        raise Unreachable("no Redis: a worker of `parallax lab worker` does this")
    link = Link.to(SERVER.url)
    try:
        return digest(link, Keys(cell), SystemClock().now())
    finally:
        link.close()


def digest(link: Link, keys: Keys, now: float) -> Digest:
    """Return the digest at a time."""
    letters = [one for one in DeadLetters(link, keys).newest(MOST_LETTERS) if now - one.at < DAY_S]
    flat = iter(link.call("HGETALL", keys.counts))
    totals = {name.decode("utf-8", "replace"): int(n) for name, n in zip(flat, flat, strict=True)}
    return {
        "cell": keys.cell,
        "at": now,
        "totals": dict(sorted(totals.items())),
        "dead_letters": dict(Counter(one.why for one in letters).most_common(20)),
    }
