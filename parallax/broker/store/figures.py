"""The figures that the leader publishes for viewers once a second: the key `figures`.

One document with a version, written only by the leader (`publish.lua`), gone some minutes after
the last leader. It tells what only a leader knows (latencies, what each tenant was served, who was
hedged or stolen from), and samples of the cell's totals, so that all who look see the same rates.
It is a hint: nothing is decided by it, and a new leader goes on from it if it can be understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import script
from parallax.broker.store.answers import Lexicon
from parallax.broker.store.codec import Message, Row, encode
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.broker.store.policies import Choice
from parallax.core.words import Done

VERSION = 1

#: How long the last figures can be read after the last leader (milliseconds).
KEPT_MS = 600_000

_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
_MOST = msgspec.Meta(max_length=1_000)
_Counts = Annotated[dict[_Text, _Count], _MOST]
_Buckets = Annotated[list[tuple[_Count, _Count]], _MOST]


class Sample(Message, frozen=True):
    """The cell's totals (the key `counts`) at a moment."""

    at: _Time = 0.0
    counts: _Counts = msgspec.field(default_factory=dict)


class TenantFigures(Row, frozen=True):
    """A tenant's service in the last minute; `running` are its attempts in flight."""

    name: _Text
    cost: _Amount
    completed: _Count
    rejected: _Count
    output_tokens: _Count
    running: _Count
    ttft_p95_s: _Amount | None = None


class WorkerFigures(Row, frozen=True):
    """The leader's view of a worker; counts are of the last minute."""

    name: _Text
    in_flight: _Count
    slowness: _Amount = 1.0
    completed: _Count = 0
    hedged: _Count = 0
    stolen_from: _Count = 0
    stolen_to: _Count = 0


class InForce(Row, frozen=True):
    """A policy in force, and where that choice was made."""

    kind: _Text
    choice: Choice
    source: _Text


class Candidate(Row, frozen=True):
    """A worker that could have been given a job; the least `score` is best, where there is one."""

    worker: _Text
    free: _Count
    in_flight: _Count
    score: float | None = None
    cached_tokens: _Count | None = None


class Decision(Row, frozen=True):
    """Why a job was given to its worker; `together` were placed in the same breath."""

    job: _Text
    attempt: _Count
    chosen: _Text
    policy: _Text
    why: _Text
    together: _Count
    workers: _Count  # that could have had it
    candidates: Annotated[list[Candidate], _MOST]


class Event(Row, frozen=True):
    """Something worth seeing, see `telemetry.pulse.Happening`."""

    seq: _Count
    at: _Time
    kind: _Text
    job: _Text = ""
    jobs: _Count = 1
    source: _Text = ""
    target: _Text = ""
    detail: _Text = ""


class Figures(Message, frozen=True):
    """The document. `minute` and `moment` are older samples of the totals than `latest`."""

    v: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    at: _Time
    term_since: _Time
    since: _Time  # the beginning of the counts "in the last minute"
    latest: Sample = Sample()
    moment: Sample = Sample()
    minute: Sample = Sample()
    tally: _Counts = msgspec.field(default_factory=dict)
    sums: _Counts = msgspec.field(default_factory=dict)
    latencies: dict[_Text, _Buckets] = msgspec.field(default_factory=dict)
    tenants: Annotated[list[TenantFigures], _MOST] = msgspec.field(default_factory=list)
    workers: Annotated[list[WorkerFigures], _MOST] = msgspec.field(default_factory=list)
    policies: Annotated[list[InForce], _MOST] = msgspec.field(default_factory=list)
    policies_serial: _Text = ""
    arms: Annotated[dict[_Text, tuple[_Count, _Count]], _MOST] = msgspec.field(default_factory=dict)
    events: Annotated[list[Event], _MOST] = msgspec.field(default_factory=list)
    backlog_s: _Amount | None = None
    decisions: Annotated[list[Decision], _MOST] = msgspec.field(default_factory=list)


_decoder = msgspec.json.Decoder(Figures)
_DONE = Lexicon(Done)


def publish_call(keys: Keys, lease: Lease, document: bytes) -> Call[Done]:
    """Build what tells everybody; raises Fenced where it is run for who leads no more."""
    return Call(
        script("publish"), [keys.leader, keys.figures], [lease.token, document, KEPT_MS],
        _DONE.first,
    )  # fmt: skip


def publish(link: Link, keys: Keys, lease: Lease, figures: Figures) -> None:
    """Tell everybody. Raises Fenced."""
    link.do(publish_call(keys, lease, encode(figures)))


def decode_figures(data: Reply) -> Figures | None:
    """Return what the leader told; None for nothing, junk, and what another release wrote."""
    if not isinstance(data, bytes):
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def decode_counts(flat: Reply) -> dict[str, int]:
    """Return the totals that the hash `counts` holds, without values that are no numbers."""
    found = dict[str, int]()
    if isinstance(flat, list):
        pairs = iter(flat)
        for name, value in zip(pairs, pairs, strict=False):
            if value.isdigit() and len(value) < 16 and len(name) <= 64:
                found[name.decode("ascii", "replace")] = int(value)
    return found


def rates(before: Sample, after: Sample) -> Mapping[str, float]:
    """Return how much each total has grown a second between two samples; nothing for no time."""
    seconds = after.at - before.at
    if seconds <= 0:
        return {}
    return {
        name: max(0, count - before.counts.get(name, 0)) / seconds
        for name, count in after.counts.items()
    }
