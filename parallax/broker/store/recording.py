"""Records the leader's events and decisions, batch by batch, so that a replay can repeat them.

A recording is made of segments. Each begins with all that a leader knows at first: policies, seed,
balances and learnt estimates; the batches follow, numbered. While a recorder keeps the key
`recording` alive the leader appends to the stream `record`, which holds the last batches only: the
recorder must read as fast as they come.

Events and actions are JSON arrays `[kind, fields]`. JSON has no infinity: a job without a deadline
has null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, get_args

import msgspec

from parallax.broker.link.connection import Link
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.store.dispatch import START
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies
from parallax.scheduling.actions import Action
from parallax.scheduling.events import Event

KEPT_BATCHES = 2_000
_EVENTS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Beginning:
    """All that a leader knows at first."""

    leader: str
    policies: Policies
    seed: int
    slo_ttft_s: float | None
    slo_tpot_s: float | None
    accounts: Mapping[str, float]
    memory: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: its events, its time, and its decisions (as `encoded_actions` writes them)."""

    leader: str
    number: int
    now: float
    events: Sequence[Event]
    actions: bytes


Line = Beginning | Batch


def encoded_actions(actions: Sequence[Action]) -> bytes:
    """Return the bytes that two decisions have in common exactly if they are the same."""
    return msgspec.json.encode([[type(action).__name__, _told(action)] for action in actions])


def _told(said: Action | Event) -> dict[str, Any]:
    """Return the fields of an action or event; models are left out where nobody names any.

    So the older recordings, from before there were models, are decided again to the same bytes.
    """
    fields = asdict(said)
    for parts in (fields, fields.get("job") or {}):
        for name in ("model", "models"):
            if not parts.get(name, True):
                del parts[name]
    return fields


def encode_line(line: Line) -> bytes:
    """Return a line of a recording, as it stands in the stream and in the file."""
    if isinstance(line, Beginning):
        return msgspec.json.encode(["begin", asdict(line)])
    events = [_event(event) for event in line.events]
    actions = msgspec.Raw(line.actions)
    return msgspec.json.encode(["batch", line.leader, line.number, line.now, events, actions])


def decode_line(data: bytes) -> Line:
    """Return what a line says; raises InvalidInput."""
    try:
        kind, *rest = msgspec.json.decode(data)
        if kind == "begin":
            return msgspec.convert(rest[0], Beginning)
        leader, number, now, events, actions = rest
        told = [_decoded_event(*event) for event in events]
        return Batch(leader, int(number), float(now), told, msgspec.json.encode(actions))
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InvalidInput(
            "line of a recording", data[:60], f"as it was written ({error})"
        ) from None


def _event(event: Event) -> list[Any]:
    fields = _told(event)
    job = fields.get("job")
    if job is not None and job["deadline"] == inf:
        job["deadline"] = None
    return [type(event).__name__, fields]


def _decoded_event(kind: str, fields: dict[str, Any]) -> Event:
    job = fields.get("job")
    if job is not None and job["deadline"] is None:
        job["deadline"] = inf
    event: Event = msgspec.convert(fields, _EVENTS[kind])
    return event


class Recorder:
    """The leader's side: appends while somebody records."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link, self._keys = link, keys
        self.recording = b""
        self._leader, self._number = "", 0

    def begin(self, recording: bytes, line: Beginning) -> None:
        """From now on somebody records; this is what we know."""
        self.recording, self._leader, self._number = recording, line.leader, 0
        self._append(line)

    def turn(self, events: Sequence[Event], now: float, actions: Sequence[Action]) -> None:
        """Append what a turn was about, if somebody records."""
        if self.recording:
            self._number += 1
            done = encoded_actions(actions)
            self._append(Batch(self._leader, self._number, now, events, done))

    def _append(self, line: Line) -> None:
        stream = self._keys.record
        self._link.call("XADD", stream, "MAXLEN", "~", KEPT_BATCHES, "*", "line", encode_line(line))


class Recording:
    """The recorder's side: asks the leader for records, and takes what it appends."""

    def __init__(self, link: Link, keys: Keys, name: str) -> None:
        self._link, self._keys, self._name = link, keys, name
        self._cursor = START

    def start(self, ttl_ms: int) -> None:
        """Begin: what another recording left behind is dropped."""
        self._link.call("DEL", self._keys.record)
        self.keep(ttl_ms)

    def keep(self, ttl_ms: int) -> None:
        """Go on for so long at least."""
        self._link.call("SET", self._keys.recording, self._name, "PX", ttl_ms)

    def take(self, block_ms: int) -> Iterator[bytes]:
        """Yield the lines that have come; they are dropped from Redis."""
        block = min(block_ms, MAX_BLOCK_MS)
        stream = self._keys.record
        reply = self._link.call(
            "XREAD", "COUNT", 100, "BLOCK", block, "STREAMS", stream, self._cursor
        )
        for _, entries in reply or ():
            for entry, fields in entries:
                self._cursor = entry.decode()
                yield fields[1]
            self._link.call("XTRIM", stream, "MINID", self._cursor)

    def stop(self) -> None:
        """End: the leader stops within a second."""
        self._link.call("DEL", self._keys.recording)
