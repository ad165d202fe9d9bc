"""Which workers are sent nothing new because somebody said so.

A mark names a worker by its id, by its name, which stays when its process is started again, or by
the server it stands in front of. Marks stay until they are taken back, whoever leads; a worker that
has one ends what it was given, and is not told of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import Registration
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput

#: Most marks of a cell, and most bytes of one.
MOST_MARKS, MOST_BYTES = 1_000, 300


def places_of(worker: str, registration: Registration) -> list[str]:
    """Return by what a worker may be marked: its id, its name, its server."""
    names = [worker, worker.rpartition("-")[0], str(registration.about.get("backend", ""))]
    return [name for name in dict.fromkeys(names) if name]


def mark_of(marks: Mapping[bytes, object], worker: str, registration: Registration) -> str | None:
    """Return the first mark that is this worker's; None if there is none."""
    return next((name for name in places_of(worker, registration) if name.encode() in marks), None)


def decode_marks(flat: Sequence[bytes]) -> Mapping[bytes, bytes]:
    """Return marks as they were read; each has the time of the server when it was made."""
    pairs = iter(flat)
    return dict(zip(pairs, pairs, strict=True))


class Drained:
    """Marks, as an operator sees and sets them."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link, self._key = link, keys.drained

    def marks(self) -> list[str]:
        """Return all of them, by name."""
        found = decode_marks(self._link.call("HGETALL", self._key))
        return sorted(name.decode("utf-8", "replace") for name in found)

    def add(self, place: str) -> bool:
        """Mark a place; return whether it was not marked before."""
        if not 0 < len(place.encode()) <= MOST_BYTES:
            raise InvalidInput("NAME", place, f"1 to {MOST_BYTES} bytes")
        (seconds, _), count = self._link.calls([("TIME",), ("HLEN", self._key)])
        if count >= MOST_MARKS:
            raise InvalidInput("NAME", place, f"at most {MOST_MARKS} are drained at once")
        return bool(self._link.call("HSET", self._key, place, seconds))

    def remove(self, place: str) -> bool:
        """Take a mark back; return whether there was one."""
        return bool(self._link.call("HDEL", self._key, place))
