"""What a whole cell looks like in Redis now: tenants, workers, who leads, and the server itself.

Everything is read with plain commands that the role `observer` may use, in a handful of round
trips, whatever waits in the streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member, Membership
from parallax.broker.store.misfits import names_of
from parallax.broker.store.results import Results
from parallax.broker.store.tenancy import Tenancy
from parallax.core.errors import StoreFault, Unusable
from parallax.core.pages import pages

#: Most tenants whose streams are looked at, by name; most commands in one write.
MOST_TENANTS, _PIPELINE = 10_000, 2_000
_SECTIONS = ("memory", "clients", "stats", "cpu", "persistence")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A tenant's stream: its length, and how long its first entry is there (seconds)."""

    jobs: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Present:
    """A registered worker, and how many attempts lie in its stream."""

    member: Member
    load: int


@dataclass(frozen=True, slots=True)
class Census:
    """One look at a cell."""

    at: float  # seconds since the epoch, by the server's clock
    leader: bytes | None  # the token of whoever leads
    lease_left_s: float
    epoch: int
    open_jobs: int
    dead_letters: int
    events: int
    counts: Mapping[str, int]  # totals since the cell began
    waiting: Mapping[str, Waiting]  # tenants with a stream
    weights: Mapping[str, float]  # tenants that were given one
    workers: Sequence[Present]
    server: Mapping[str, str]  # what the server tells of itself; empty if it may not be asked


def take_census(link: Link, keys: Keys) -> Census:
    """Look at a cell. Raises Unreachable, and StoreFault for what cannot be read."""
    (seconds, micros), leader, lease_ms, epoch, opened, dead, events, active = link.calls(
        [
            ("TIME",), ("GET", keys.leader), ("PTTL", keys.leader), ("GET", keys.epoch),
            ("ZCARD", keys.open), ("XLEN", keys.dead), ("XLEN", keys.events),
            ("SMEMBERS", keys.active),
        ]
    )  # fmt: skip
    now = int(seconds) + int(micros) / 1e6
    members = Membership(link, keys).members()
    loads = _each(link, [("XLEN", keys.work(member.worker)) for member in members])
    return Census(
        at=now,
        leader=leader,
        lease_left_s=max(0.0, lease_ms / 1000),
        epoch=int(epoch) if epoch and epoch.isdigit() else 0,
        open_jobs=opened,
        dead_letters=dead,
        events=events,
        counts=Results(link, keys).counts(),
        waiting=_waiting(link, keys, sorted(names_of(active)[0])[:MOST_TENANTS], now),
        weights=Tenancy(link, keys).weights(),
        workers=[Present(member, load) for member, load in zip(members, loads, strict=True)],
        server=_told(link),
    )


def _waiting(link: Link, keys: Keys, names: Sequence[str], now: float) -> dict[str, Waiting]:
    streams = [keys.arrivals(name) for name in names]
    asked = [
        (("XLEN", stream), ("XRANGE", stream, "-", "+", "COUNT", 1)) for stream in streams
    ]  # fmt: skip
    replies: Iterator[Reply] = iter(_each(link, list(chain.from_iterable(asked))))
    return {
        name: Waiting(length, _age(first, now))
        for name, length, first in zip(names, replies, replies, strict=True)
    }


def _age(entries: Sequence[tuple[bytes, object]], now: float) -> float:
    """Return how long the first of these entries is there: its id begins with the time."""
    if not entries:
        return 0.0
    return max(0.0, now - int(entries[0][0].partition(b"-")[0]) / 1000)


def _each(link: Link, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
    replies: list[Reply] = []
    for page in pages(commands, _PIPELINE):
        replies += link.calls(page)
    return replies


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
