"""Marking workers as drained, and waiting until they have nothing left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from parallax.broker.link.connection import Link
from parallax.broker.store import drained
from parallax.broker.store.drained import places_of
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview, WorkerState
from parallax.cli.documents import Drained, DrainedRow
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput

#: How often it is looked whether a worker is empty, and how long it has to be (seconds): who leads
#: hears of a mark at its next look at the workers, and may have sent something before.
LOOK_S, EMPTY_S = 0.2, 2.0
#: Most names that an error tells.
_SOME = 20


class Draining:
    """Marks of a cell, and the workers that they are about."""

    def __init__(self, link: Link, keys: Keys, clock: Clock) -> None:
        self._marks, self._overview = drained.Drained(link, keys), Overview(link, keys)
        self._clock = clock

    def drain(self, name: str, wait_s: float) -> Drained:
        """Mark a worker or a server; raises InvalidInput if there is none of that name."""
        name = _root(name)
        workers = self._overview.read().workers
        if not _named(name, workers):
            known = sorted({place for one in workers for place in _places(one)})
            allowed = f"one of: {', '.join(known[:_SOME])}" if known else "a worker; there is none"
            raise InvalidInput("NAME", name, allowed)
        changed = self._marks.add(name)
        empty = self._await_empty(name, wait_s)
        return self._told(name, True, changed, empty)

    def undrain(self, name: str) -> Drained:
        """Take a mark back; raises InvalidInput if there is none of that name."""
        name = _root(name)
        if not self._marks.remove(name):
            known = self._marks.marks()
            allowed = f"one of: {', '.join(known[:_SOME])}" if known else "nothing: none is drained"
            raise InvalidInput("NAME", name, allowed)
        return self._told(name, False, True, None)

    def _told(self, name: str, is_drained: bool, changed: bool, empty: bool | None) -> Drained:
        found = _named(name, self._overview.read().workers)
        rows = [DrainedRow(one.name, state_of(one), one.stream_jobs) for one in found]
        is_empty = not any(row.jobs for row in rows) if empty is None else empty
        return Drained(name, is_drained, changed, is_empty, rows)

    def _await_empty(self, name: str, wait_s: float) -> bool | None:
        """Return whether all that is marked has been empty for a while; None: not waited for."""
        if not wait_s:
            return None
        end = self._clock.monotonic() + wait_s
        since: float | None = None
        while True:
            now, found = self._clock.monotonic(), _named(name, self._overview.read().workers)
            if any(one.stream_jobs for one in found):
                since = None
            elif since is None:
                since = now
            if since is not None and now - since >= EMPTY_S:
                return True
            if now >= end:
                return False
            self._clock.wait(min(LOOK_S, max(0.0, end - now)))


def state_of(one: WorkerState) -> Literal["ready", "unready", "draining", "dead"]:
    """Return how a worker is, as commands about servers say it."""
    return "ready" if one.state == "alive" else one.state


def _places(one: WorkerState) -> list[str]:
    return places_of(one.name, one.member.registration)


def _named(name: str, workers: Sequence[WorkerState]) -> list[WorkerState]:
    return [one for one in workers if name in _places(one)]


def _root(name: str) -> str:
    """Return a name; an address is called as `backend list` shows it."""
    return name.rstrip("/").removesuffix("/v1") if "://" in name else name
