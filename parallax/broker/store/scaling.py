"""The keys of autoscaling: the leader's load, the autoscaler's seat, the last decisions.

| key | type | holds |
| --- | --- | --- |
| `load` | string, TTL | what the leader last told of the load: `LoadReport` |
| `scaler` | string, TTL | the seat: who may act; one autoscaler of a cell at a time |
| `scaling` | string, TTL | what that one decided last, and its last changes: `ScalingRecord` |

All three are small and bounded, and nothing is lost with them: the leader tells the load again
within a second, and an autoscaler that knows nothing changes nothing.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Annotated

import msgspec

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import renew_call, resign_call
from parallax.core.errors import Fenced
from parallax.core.model import WorkerView
from parallax.scheduling.load import Load

VERSION = 1
#: An older load is ignored (ms); decisions are shown for a day.
LOAD_MS, RECORD_MS = 10_000, 86_400_000
#: Workers told of: those that would be drained first. More are counted and not named.
MOST_WORKERS = 1_000
#: Changes kept in the record.
MOST_CHANGES = 20

_Number = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
_Text = Annotated[str, msgspec.Meta(max_length=400)]


class WorkerLoad(msgspec.Struct, frozen=True, array_like=True):
    """A worker, as the leader sees it."""

    id: Annotated[str, msgspec.Meta(max_length=100)]
    slots: _Count
    in_flight: _Count
    pending_cost: _Number
    kv_used: _Number
    warmth: _Number
    draining: bool


class LoadReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The load of a cell, told once a second. Fields that a newer leader adds are passed over."""

    v: Annotated[int, msgspec.Meta(ge=VERSION)]
    at: _Number  # the server's time
    offered: _Number
    burst: _Number
    backlog: _Number
    queued: _Number
    each: _Number  # what a worker is able to serve in a second
    workers: Annotated[list[WorkerLoad], msgspec.Meta(max_length=MOST_WORKERS)]

    def load(self) -> Load:
        """Return it as an autoscaler reads it."""
        views = tuple(
            WorkerView(
                one.id, one.slots, one.in_flight, one.pending_cost, kv_used=one.kv_used,
                draining=one.draining, warmth=one.warmth,
            )
            for one in self.workers
        )  # fmt: skip
        return Load(self.offered, self.burst, self.backlog, self.queued, self.each, views)


class Change(msgspec.Struct, frozen=True):
    """A change that was made, or with `--dry-run` would have been."""

    at: _Number
    direction: _Text
    wanted: _Count
    text: _Text


class ScalingRecord(msgspec.Struct, frozen=True):
    """The autoscaler's last decision and its reason; its last changes, the latest first."""

    v: Annotated[int, msgspec.Meta(ge=VERSION)]
    at: _Number
    who: _Text
    policy: _Text
    capacity: _Text
    fewest: _Count
    most: _Count
    dry_run: bool
    wanted: _Count
    serving: _Count
    starting: _Count
    draining: _Count
    direction: _Text
    reason: _Text
    text: _Text
    changes: Annotated[list[Change], msgspec.Meta(max_length=MOST_CHANGES)] = msgspec.field(
        default_factory=list
    )


_load_decoder = msgspec.json.Decoder(LoadReport)
_record_decoder = msgspec.json.Decoder(ScalingRecord)


def load_report(load: Load, at: float) -> LoadReport:
    """Return what a leader tells of a load."""
    workers = sorted(load.workers, key=lambda worker: (worker.draining, worker.warmth, worker.id))
    return LoadReport(
        VERSION, at, load.offered_cost_per_s, load.burst_cost_per_s, max(0.0, load.backlog_cost),
        max(0.0, load.queued_cost), load.cost_per_worker_s,
        [
            WorkerLoad(
                one.id, one.slots, one.in_flight, max(0.0, round(one.pending_cost, 1)),
                round(one.kv_used, 4), round(one.warmth, 3), one.draining,
            )
            for one in workers[:MOST_WORKERS]
        ],
    )  # fmt: skip


class ScalingStore:
    """Reads and writes the three keys. One round trip each."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link, self._keys = link, keys

    def tell(self, report: LoadReport) -> None:
        """Tell the load (the leader)."""
        self._link.call("SET", self._keys.load, msgspec.json.encode(report), "PX", LOAD_MS)

    def load(self) -> LoadReport | None:
        """Return the load, if a leader published it lately and it can be decoded."""
        data = self._link.call("GET", self._keys.load)
        try:
            return None if data is None else _load_decoder.decode(data)
        except msgspec.MsgspecError:
            return None

    def keep(self, record: ScalingRecord) -> None:
        """Keep the decision."""
        self._link.call("SET", self._keys.scaling, msgspec.json.encode(record), "PX", RECORD_MS)

    def record(self) -> ScalingRecord | None:
        """Return the last decision; None if it cannot be decoded."""
        data = self._link.call("GET", self._keys.scaling)
        try:
            return None if data is None else _record_decoder.decode(data)
        except msgspec.MsgspecError:
            return None


class Seat:
    """The seat of a cell's autoscaler: a lease, as the leader's, with no epoch.

    What an autoscaler does is done outside Redis, where no token is checked, so this keeps two from
    acting at once as long as their clocks run: who cannot renew within half the lease stops acting
    before another can begin. Should both act once all the same, both follow the same load: there
    are a few workers too many for a while, and no job is lost.
    """

    def __init__(self, link: Link, keys: Keys, who: str, ttl_ms: int) -> None:
        self._link, self._key, self._ttl_ms = link, keys.scaler, ttl_ms
        self._lease = Lease(f"{secrets.token_hex(4)}-{who}")

    def take(self) -> bool:
        """Take the seat or keep it; say whether it is ours."""
        taken = ("SET", self._key, self._lease.token, "NX", "PX", self._ttl_ms)
        if self._link.call(*taken) is not None:
            return True
        try:
            self._link.do(renew_call(self._key, self._lease, self._ttl_ms))
        except Fenced:
            return False
        return True

    def leave(self) -> None:
        """Let another one take it at once."""
        with suppress(Fenced):  # it has
            self._link.do(resign_call(self._key, self._lease))
