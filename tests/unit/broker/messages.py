"""One valid message of each kind, and what decodes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.store.attempts import Assignment, decode_assignment
from parallax.broker.store.codec import (
    VERSION,
    Registration,
    Report,
    decode_about,
    decode_arrival,
    decode_registration,
    decode_report,
    encode,
)
from parallax.broker.store.dispatch import Entry
from parallax.core.model import JobView

SPEC = b'[1,"acme",10,20,"s1",-3]'
REPORT = encode(Report("acme", "w1", 1, 2.5, 10, 5, 0, 0.25, 0.5, 1.5, "broke", 3.0))
REGISTRATION = encode(Registration(VERSION, 4, "cpu", 1000, 2.0, about={"gpu": "a100", "n": 8}))
ABOUT = b"1500 0123456789abcdef 5 0 inbox-1 " + SPEC
ARRIVAL = b"j1 1500 - 0 " + SPEC
ASSIGNMENT = b"j1 2 10.5 7"


def arrived(text: bytes) -> JobView:
    """Decode the one field of an entry of a tenant's stream."""
    return decode_arrival([b"j", text])


def assigned(text: bytes) -> Assignment:
    """Decode the one field of an entry of a worker's stream."""
    return decode_assignment(Entry("9-1", [b"j", text]))


Decoder = Callable[[bytes], object]
DECODERS: dict[str, tuple[Decoder, bytes]] = {
    "arrival": (arrived, ARRIVAL),
    "assignment": (assigned, ASSIGNMENT),
    "about": (decode_about, ABOUT),
    "report": (decode_report, REPORT),
    "registration": (decode_registration, REGISTRATION),
}
each_decoder = pytest.mark.parametrize(("decode", "valid"), DECODERS.values(), ids=DECODERS)
