"""Reads in one round trip the keys that a leader polls."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.tenancy import CHANGES


@dataclass(frozen=True, slots=True)
class Bulletin:
    """The server's time, and what says that something else has changed."""

    now: float  # seconds since the epoch
    policies: bytes  # `PolicyStore.serial`
    recording: bytes  # `PolicyStore.recording`
    weights: bytes | None  # `Tenancy.changes`
    events: int  # entries that wait in the stream


def read_bulletin(link: Link, keys: Keys) -> Bulletin:
    """Read it. One round trip."""
    time, serial, recording, changes, events = link.calls(
        [
            ("TIME",),
            ("HGET", keys.policy, "serial"),
            ("GET", keys.recording),
            ("HGET", keys.tenants, CHANGES),
            ("XLEN", keys.events),
        ]
    )
    seconds, micros = time
    return Bulletin(
        int(seconds) + int(micros) / 1e6, serial or b"", recording or b"", changes, int(events)
    )
