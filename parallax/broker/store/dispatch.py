"""The leader's side of the streams: what it reads each turn and what it commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec import Struct

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon, led
from parallax.broker.store.keys import Keys
from parallax.broker.store.misfits import expel, name_of, names_of
from parallax.core.pages import pages
from parallax.core.words import Retired, Routed
from parallax.scheduling.actions import Dispatch

START = "0-0"

#: About so many names of active tenants are read at once: a millisecond of the server's time.
_ACTIVE = 5_000
#: Most tenants in one run of `retire`.
_RETIRED = 500
#: Most bytes of one read of the leader, and of one arrival: a spec (see `specs.MOST_INLINE`) beside
#: names and numbers.
READ_BYTES, ENTRY_BYTES = 32 << 20, 1_300

_ROUTED, _RETIRED_WORDS = Lexicon(Routed), Lexicon(Retired)


class Entry(Struct, frozen=True):
    """A stream entry as it came: its id and its flat list of fields and values.

    (What every job makes is a `msgspec.Struct`, as frozen as a dataclass and made in a tenth of the
    time.)
    """

    id: str
    fields: Sequence[bytes]


@dataclass(slots=True)
class Turn:
    """The result of one read: entries by tenant, worker events, and whether the bell rang."""

    arrivals: dict[str, list[Entry]] = field(default_factory=dict)
    events: list[Entry] = field(default_factory=list)
    rung: list[str] = field(default_factory=list)
    behind: bool = False  # the bell had more than was read, or than it could keep


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of leadership: the token that every commit shows, and its fencing epoch."""

    token: str

    @property
    def epoch(self) -> str:
        """The number that grows with every change of leader."""
        return self.token.rpartition("|")[2]

    @property
    def candidate(self) -> str:
        """The name of the leader."""
        return self.token.rpartition("|")[0]


class Dispatching:
    """Reads arrivals and events by cursor and commits dispatches.

    The leader is the only reader of these streams, so they need no consumer groups: what it has not
    yet dealt with is what is still in them, and a new leader simply starts at the beginning.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self.events_cursor = START
        self.bell_cursor = "$"
        self.cursors: dict[str, str] = {}

    def restart(self) -> None:
        """Forget all cursors: the next turn reads everything that is there."""
        self.events_cursor, self.bell_cursor = START, "$"
        self.cursors.clear()

    def active(self, cursor: str) -> tuple[str, list[str]]:
        """Return the next cursor ("0" at the end) and a page of the tenants with arrivals.

        Who is in the set from the first page to the last is on one of them. What is no tenant's
        name is set aside.
        """
        following, found = self._link.call("SSCAN", self._keys.active, cursor, "COUNT", _ACTIVE)
        names, junk = names_of(found)
        expel(self._link, self._keys, self._keys.active, junk)
        return following.decode(), names

    def bell_end(self) -> str:
        """Return the id of the bell's last entry: read from there, after `active` was read."""
        last = self._link.call("XREVRANGE", self._keys.bell, "+", "-", "COUNT", 1)
        return last[0][0].decode() if last else START

    def read(
        self, tenants: Sequence[str], count: int, block_ms: int, share: int | None = None
    ) -> Turn:
        """Wait up to `block_ms` for arrivals of these tenants, worker events and the bell.

        At most `count` entries of a stream are read, and at most `share` of a tenant's: fewer if
        all of them together could have more than `READ_BYTES`. One round trip; with a smaller
        `share` two, if there is nothing yet.
        """
        keys = self._keys
        most = max(1, READ_BYTES // (ENTRY_BYTES * (len(tenants) + 2)))
        share = min(count, most, count if share is None else share)
        news = [(keys.events, self.events_cursor), (keys.bell, self.bell_cursor)]
        arrivals = [(keys.arrivals(t), self.cursors.get(t, START)) for t in tenants]
        reply: list[Reply] = []
        if share < count and tenants:
            for streams in self._link.calls([_xread(news, count), _xread(arrivals, share)]):
                reply += streams or ()
        if not reply and (share == count or block_ms > 0 or not tenants):
            reply = self._link.call(*_xread(news + arrivals, share, block_ms)) or []
        return self._sorted(reply, count)

    def _sorted(self, reply: Reply, count: int) -> Turn:
        turn, keys = Turn(), self._keys
        events, bell = keys.events.encode(), keys.bell.encode()
        for stream, raw in reply:
            entries = [Entry(entry.decode(), fields or ()) for entry, fields in raw]
            if not entries:
                continue
            if stream == events:
                turn.events = entries
                self.events_cursor = entries[-1].id
            elif stream == bell:
                turn.rung = [name for name in map(_tenant, entries) if name]
                self.bell_cursor = entries[-1].id
                turn.behind = len(entries) >= count
            else:
                tenant = keys.tenant_of(stream.decode())
                turn.arrivals[tenant] = entries
                self.cursors[tenant] = entries[-1].id
        return turn

    def commit(
        self,
        lease: Lease,
        dispatches: Sequence[Dispatch],
        caps: Mapping[str, int],
        accounts: Mapping[str, float],
    ) -> list[Routed]:
        """Carry out dispatches, save accounts, drop the events they rest on; all or nothing.

        `caps` is the most entries each worker's stream may hold. Returns a word for each dispatch,
        see `lua/route.lua`. Raises Fenced when somebody else leads.
        """
        read = after(self.events_cursor)
        return self._link.do(route_call(self._keys, lease, read, dispatches, caps, accounts))

    def retire(self, tenants: Sequence[str]) -> list[str]:
        """Stop watching tenants whose streams are empty; return those that were retired."""
        parts, gone = list(pages(tenants, _RETIRED)), list[str]()
        answers = self._link.do_each([retire_call(self._keys, part) for part in parts])
        for part, words in zip(parts, answers, strict=True):
            gone += [t for t, word in zip(part, words, strict=True) if word is Retired.RETIRED]
        for tenant in gone:
            self.cursors.pop(tenant, None)
        return gone

    def unread(self, tenants: Sequence[str]) -> dict[str, int]:
        """Return how many entries the streams of these tenants hold."""
        if not tenants:
            return {}
        lengths = self._link.calls([("XLEN", self._keys.arrivals(t)) for t in tenants])
        return dict(zip(tenants, lengths, strict=True))

    def rewind(self, tenant: str, entry: str) -> None:
        """Read a tenant's stream from its beginning if this entry was passed over."""
        if _place(entry) <= _place(self.cursors.get(tenant, START)):
            self.cursors.pop(tenant, None)


def route_call(
    keys: Keys,
    lease: Lease,
    trim_to: str,
    dispatches: Sequence[Dispatch],
    caps: Mapping[str, int],
    accounts: Mapping[str, float],
) -> Call[list[Routed]]:
    """Build the commit of a leader's turn; it drops the events with ids below `trim_to`."""
    workers: dict[str, int] = {}
    tenants: dict[str, int] = {}
    rows: list[Argument] = []
    for d in dispatches:
        rows += (
            d.job_id,
            d.entry,
            tenants.setdefault(d.tenant, len(tenants) + 1),
            workers.setdefault(d.worker, len(workers) + 1),
            d.attempt,
            repr(d.estimate),
            "hedge"
            if d.hedge
            else workers.setdefault(d.prefilled_by, len(workers) + 1)
            if d.prefilled_by
            else "",
        )
    names = [keys.leader, keys.events, keys.ledger, keys.counts]
    for worker in workers:
        names += (keys.work(worker), keys.heartbeat(worker))
    names += map(keys.arrivals, tenants)
    names += [keys.job(d.job_id) for d in dispatches]
    args: list[Argument] = [
        lease.token, lease.epoch, trim_to, len(accounts), len(workers), len(tenants),
        len(dispatches),
    ]  # fmt: skip
    args += _flat((tenant, repr(account)) for tenant, account in accounts.items())
    args += _flat((worker, caps.get(worker, 0)) for worker in workers)
    return Call(script("route"), names, args + rows, partial(led, _ROUTED.words))


def retire_call(keys: Keys, tenants: Sequence[str]) -> Call[list[Retired]]:
    """Build what stops the watching of tenants without arrivals."""
    names = [keys.active, *map(keys.arrivals, tenants)]
    return Call(script("retire"), names, tenants, _RETIRED_WORDS.words)


def _xread(streams: Sequence[tuple[str, str]], count: int, block_ms: int = 0) -> list[Argument]:
    block = ("BLOCK", min(block_ms, MAX_BLOCK_MS)) if block_ms > 0 else ()
    names, positions = zip(*streams, strict=True)
    return ["XREAD", "COUNT", count, *block, "STREAMS", *names, *positions]


def _place(entry: str) -> tuple[int, int]:
    ms, _, serial = entry.partition("-")
    return int(ms or 0), int(serial or 0)


def after(entry: str) -> str:
    """Return the smallest id greater than `entry` ('' for the start: nothing to drop)."""
    if entry == START:
        return ""
    ms, _, serial = entry.partition("-")
    return f"{ms}-{int(serial) + 1}"


def before(entry: str) -> str:
    """Return an id smaller than `entry` with nothing between the two: what to read after."""
    ms, _, serial = entry.partition("-")
    return f"{ms}-{int(serial) - 1}" if int(serial) else f"{max(0, int(ms) - 1)}-{2**64 - 1}"


def _tenant(entry: Entry) -> str:
    return name_of(entry.fields[1]) if len(entry.fields) > 1 else ""


def _flat(pairs: Iterable[tuple[Argument, Argument]]) -> list[Argument]:
    return [item for pair in pairs for item in pair]
