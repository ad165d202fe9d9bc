"""Finds the jobs that are due soon wherever they wait, so that no window hides a deadline.

The leader holds a window of each tenant's jobs and reads on as they leave it. `due` names every
open job that has a deadline, in the order of their deadlines: those that are due soon are read
ahead of their turn, so that they are served by their order and priority, or expire in time.

`due` is a hint: a job's record says what is true, and whoever has ended or has no record is taken
out when its time comes, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf

from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import decode_about, view_of
from parallax.broker.store.holding import Holding, decode_holding
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import State
from parallax.scheduling.events import JobArrived

#: Deadlines within so many seconds are read ahead, where jobs wait that have not been read.
AHEAD_S = 5.0
#: Where all have been read, only those are looked for that should be over for so long.
OVERDUE_S = 1.0
#: Jobs that one look reads ahead, those that it looks through, and those that it asks for at once.
MOST, MOST_LOOKED, PAGE = 2_000, 20_000, 1_000


class Deadlines:
    """See the module's docstring. One look is a round trip, and two more for each page of finds."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link, self._keys = link, keys

    def look(self, now: float, hidden: bool, known: Callable[[str], bool]) -> list[JobArrived]:
        """Return the arrivals of jobs that are due soon and not known yet, the most urgent first.

        `hidden` says whether jobs wait that have not been read.
        """
        until_ms = int((now + AHEAD_S if hidden else now - OVERDUE_S) * 1000)
        found: list[JobArrived] = []
        start = 0
        for _ in range(MOST_LOOKED // PAGE):
            if len(found) >= MOST:
                break
            page = self._link.call(
                "ZRANGEBYSCORE", self._keys.due, "-inf", until_ms, "LIMIT", start, PAGE
            )
            new = [name for name in page if not known(name.decode("utf-8", "replace"))]
            start += len(page) - self._read(new, found)
            if len(page) < PAGE:
                break
        return found

    def _read(self, members: Sequence[bytes], found: list[JobArrived]) -> int:
        """Add waiting jobs to `found`; remove the ended ones, and return their number."""
        names = [member.decode("utf-8", "replace") for member in members]
        fields = ("at", "about", "deadline")
        records = self._link.calls([("HMGET", self._keys.job(n), *fields) for n in names])
        over: list[Argument] = []
        for member, name, record in zip(members, names, records, strict=True):
            holding = decode_holding(record[0])
            if not record[0] or (holding and holding.is_over):
                over.append(member)
            elif holding and holding.state is State.QUEUED:
                found += _arrival(name, holding, record)
        return int(self._link.call("ZREM", self._keys.due, *over)) if over else 0


def _arrival(name: str, holding: Holding, record: Reply) -> Iterator[JobArrived]:
    """Yield what the job's entry says; nothing for a record that cannot be understood."""
    _, about, deadline = record
    with suppress(InvalidInput, ValueError):  # the janitor and the tenant's stream will find it
        due = int(deadline) / 1000 if deadline else inf
        view = view_of(name, decode_about(about), due, holding.attempt)
        yield JobArrived(view, holding.entry)
