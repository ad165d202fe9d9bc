"""Parses the holders of a job: the fields `at` and `hedge` of its record.

`lua/common.lua` says what they look like, and reads them for the scripts (`parsed`, `split`).
"""

from __future__ import annotations

import re

from msgspec import Struct

from parallax.core.lifecycle import TERMINAL, State

#: Holders of a job that are not workers.
QUEUE, SYSTEM = "queue", "system"
NOBODY = frozenset({QUEUE, SYSTEM})

_HOLDING = re.compile(
    rb"([a-z]+) (?:([A-Za-z0-9][A-Za-z0-9._-]{0,63})/(\d{1,9})/(\d{1,20}-\d{1,20})|system)"
    rb"(?: (\S*)(?: (\S*))?)? *"  # a time that is none hides nothing else
)
_STATES = {state.value.encode(): state for state in State}


class Holding(Struct, frozen=True):
    """The state of a job or of its hedge, and its holder.

    `who` is `queue`, a worker, or `system` for a job that no worker ended; `entry` is the place in
    the holder's stream. Times are seconds since the epoch; None: not known. An attempt has
    `claimed` its job once a part of its answer was sent.
    """

    state: State
    who: str
    attempt: int
    entry: str
    started: float | None = None
    finished: float | None = None
    claimed: bool = False

    @property
    def worker(self) -> str:
        """The worker that has it, or had it last; "" where none does."""
        return "" if self.who in NOBODY else self.who

    @property
    def signature(self) -> str:
        """The credential by which an attempt proves that it holds the job."""
        return signature_of(self.who, self.attempt, self.entry) if self.entry else self.who

    @property
    def assigned(self) -> float | None:
        """When it was sent there: what the entry in the worker's stream is called tells it."""
        return seconds(self.entry.partition("-")[0].encode()) if self.worker else None

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL


def decode_beside(data: bytes | None) -> tuple[Holding | None, bool]:
    """Return the attempt that is or was beside the job's own, and whether it is over."""
    over = bool(data) and data.startswith(b"over ")  # type: ignore[union-attr]
    return decode_holding(data.replace(b"over", b"assigned", 1) if data and over else data), over


def signature_of(who: str, attempt: int | str, entry: str) -> str:
    """Return how a record names an attempt."""
    return f"{who}/{attempt}/{entry}"


def decode_holding(data: bytes | None) -> Holding | None:
    """Return who holds a job by its field `at` or `hedge`.

    None: there is no such field, nobody could have written it, or that attempt is over.
    """
    found = _HOLDING.fullmatch(data) if data else None
    state = _STATES.get(found[1]) if found else None
    if found is None or state is None:
        return None
    _, who, attempt, entry, started, finished = found.group(0, 2, 3, 4, 5, 6)
    if who is None:
        return Holding(state, SYSTEM, 0, "", seconds(started), seconds(finished))
    claimed = finished == b"claimed"
    times = seconds(started), None if claimed else seconds(finished)
    return Holding(state, who.decode(), int(attempt), entry.decode(), *times, claimed)


def seconds(ms: bytes | None) -> float | None:
    """Return a time of a record; None for one that it has not, or that is no number."""
    return (int(ms) / 1000 or None) if ms and ms.isdigit() and len(ms) < 17 else None
