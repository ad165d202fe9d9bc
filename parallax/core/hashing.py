"""Where a text stands among all texts: the same number in every process and Python version."""

from __future__ import annotations

import hashlib

BITS = 64
_WHOLE = 2.0**BITS


def point(text: str) -> int:
    """Return a number of `BITS` bits that depends on the text alone, as if drawn at random."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=BITS // 8).digest(), "big")


def share(text: str) -> float:
    """Return the same as a share of the whole, from 0 to 1."""
    return point(text) / _WHOLE
