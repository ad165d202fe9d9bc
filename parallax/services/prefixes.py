"""Long prefixes on their way into memory: read apart from the arrivals, within budgets of bytes.

A prefix is a hint for routing and may be a thousand times as long as all else that is known of a
job. So a tenant whose jobs have long ones is read on only while its share of the room, in bytes, is
not full; and when all of the room is, jobs come in without their prefixes, and are routed as if
they shared nothing. Nobody waits for the long prefixes of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import decode_prefix
from parallax.broker.store.dispatch import before
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput
from parallax.scheduling.events import JobArrived

#: Most bytes of them that are read in one turn: to understand and to index them takes time.
TURN_BYTES = 4 << 20

#: A hash in memory, and as it is written (bytes).
HASH_BYTES, HASH_TEXT = 40, 20

#: Room of the prefixes of all jobs that wait in memory or are in flight (bytes). The tenants share
#: one half; what is in flight, and who comes later to a smaller share, has the other.
HELD_BYTES = 192 << 20


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One read of a tenant's stream, and the bytes of prefixes that are stored apart, by job."""

    tenant: str
    jobs: Sequence[JobArrived]
    apart: Mapping[str, int]


class Prefixes:
    """See the module's docstring. `rewind` is told where a tenant's stream is to be read again."""

    def __init__(self, link: Link, keys: Keys, rewind: Callable[[str, str], None]) -> None:
        self._link, self._keys, self._rewind = link, keys, rewind

    def taken(
        self, arrivals: Sequence[Arrivals], room: Callable[[str], int], free: int
    ) -> list[JobArrived]:
        """Return the jobs that are taken in now, with their prefixes: at most one round trip.

        `room` says how many more bytes a tenant may hold; one job is taken where there is none, so
        that no prefix is too long to be served. `free` is what is left of `HELD_BYTES`: a prefix
        that does not fit stays where it is.
        """
        budget, taken = TURN_BYTES, list[JobArrived]()
        wanted: dict[str, int] = {}
        for some in arrivals:
            left = room(some.tenant)
            for n, event in enumerate(some.jobs):
                text = some.apart.get(event.job.id, 0)
                held = text * HASH_BYTES // HASH_TEXT
                if text and ((n and held > left) or (wanted and text > budget)):
                    self._rewind(some.tenant, before(event.entry))
                    break
                taken.append(event)
                if text and held <= free:
                    wanted[event.job.id] = text
                    left, budget, free = left - held, budget - text, free - held
        found = dict(zip(wanted, self._read(list(wanted)), strict=True))
        return [_with(event, found[event.job.id]) if event.job.id in found else event
                for event in taken]  # fmt: skip

    def _read(self, jobs: Sequence[str]) -> Iterator[bytes | None]:
        yield from self._link.calls([("HGET", self._keys.job(job), "prefix") for job in jobs])


def _with(event: JobArrived, text: bytes | None) -> JobArrived:
    """Put a prefix into its job; without one that can be understood it is as good as new."""
    try:
        prefix, block = decode_prefix(text or b"")
    except InvalidInput:
        return event
    return replace(event, job=replace(event.job, prefix=prefix, prefix_block=block))
