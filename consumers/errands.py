"""A worker's requests to the store: reads of its streams, and the actions of its desk."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from typing import TypeVar

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.link.scripts import Argument
from parallax.broker.store.answers import Answer
from parallax.broker.store.attempts import (
    Assignment,
    Attempts,
    Finish,
    decode_assignment,
    decode_cancellation,
    is_drain,
)
from parallax.broker.store.dispatch import START, Entry
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import bury_call
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.core.errors import InvalidInput
from parallax.core.words import Buried, Finished

R = TypeVar("R")


async def had(found: R | Awaitable[R]) -> R:
    """Return what a link has found, or will find: a `Link` has waited for it already."""
    return await found if isawaitable(found) else found


class Ears:
    """The worker's streams. It is their only reader and keeps a cursor, so it needs no group."""

    def __init__(self, link: Link | AsyncLink, keys: Keys, worker: str) -> None:
        self._link = link
        self._work, self._control = keys.work(worker), keys.control(worker)
        self._restarts = 0
        self.restart()

    def restart(self) -> None:
        """Read both streams from their beginning; what a read brings that is under way is lost."""
        self._restarts += 1
        self._cursors = {self._work: START, self._control: START}

    async def read(self, count: int, block_s: float) -> told.Read:
        """Wait for at most `count` assignments, and for orders; without room for orders only."""
        command: list[Argument] = ["XREAD", "COUNT", max(count, 1)]
        if block_s > 0:
            command += ("BLOCK", max(1, min(int(block_s * 1000), MAX_BLOCK_MS)))
        streams = [self._work, self._control] if count > 0 else [self._control]
        restarts = self._restarts
        cursors = [self._cursors[stream] for stream in streams]
        found = await had(self._link.call(*command, "STREAMS", *streams, *cursors))
        if restarts != self._restarts:
            return told.Read()
        entries: dict[str, list[Entry]] = {}
        for stream, raw in found or ():
            read = [Entry(entry.decode(), fields or ()) for entry, fields in raw]
            entries[stream.decode()] = read
            self._cursors[stream.decode()] = read[-1].id
        return _understood(entries.get(self._work, ()), entries.get(self._control, ()))


def _understood(assigned: Sequence[Entry], orders: Sequence[Entry]) -> told.Read:
    found: list[Assignment] = []
    junk: list[tuple[Entry, str]] = []
    for entry in assigned:
        try:
            found.append(decode_assignment(entry))
        except InvalidInput as error:
            junk.append((entry, str(error)))
    cancellations = [o for o in map(decode_cancellation, orders) if o is not None]
    return told.Read(found, cancellations, junk, any(map(is_drain, orders)))


class Errands:
    """The actions that are for the store. Over a `Link` each is done when it is first awaited."""

    def __init__(
        self, link: Link | AsyncLink, keys: Keys, worker: str, limits: Limits | None
    ) -> None:
        self._link, self._keys, self._worker = link, keys, worker
        self._attempts = Attempts(keys, worker, limits)

    async def _carried(self, dialogue: Dialogue[R]) -> R:
        return await had(self._link.carry(dialogue))

    async def begin(self, action: do.Begin) -> told.Begun:
        """Take the last look before running."""
        asked = self._attempts.begin(action.assignments, action.with_bodies)
        return told.Begun(*await self._carried(asked))

    async def finish(self, finishes: Sequence[Finish]) -> list[Answer[Finished]]:
        """Write ends; return what became of each: a word and its detail."""
        return await self._carried(self._attempts.finish(finishes))

    async def relay(self, action: do.Relay) -> told.Relayed:
        """Send chunks."""
        return told.Relayed(await self._carried(self._attempts.relay(action.chunks)))

    async def look(self, action: do.Look) -> told.Looked:
        """See which attempts nobody wants any more."""
        return told.Looked(await self._carried(self._attempts.without_use(action.attempts)))

    async def tell(self, action: do.Tell) -> None:
        """Tell of first tokens."""
        await self._carried(self._attempts.progress(action.told, action.began))

    async def quarantine(self, action: do.Quarantine) -> None:
        """Move junk to the dead letters."""
        await self._carried(self._attempts.quarantine(action.junk))

    async def bury(self) -> bool:
        """Sign off; return whether that was done, for something may have come meanwhile."""
        return await had(self._link.do(bury_call(self._keys, self._worker, None))) is Buried.OK

    def drop(self) -> None:
        """Drop the connection; the next errand opens a new one."""
        if isinstance(self._link, Link):
            self._link.close()
        else:
            self._link.drop()

    async def close(self) -> None:
        """Drop all connections."""
        await had(self._link.close())
