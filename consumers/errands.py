"""What a worker asks of the store: reads of its streams, and the actions of its desk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.link.endpoint import MAX_BLOCK_MS
from parallax.broker.link.scripts import Argument
from parallax.broker.store.attempts import (
    Assignment,
    Attempts,
    Finish,
    decode_assignment,
    decode_cancellation,
)
from parallax.broker.store.dispatch import START, Entry
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Membership
from parallax.broker.store.rescue import Rescue
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.core.errors import InvalidInput
from parallax.core.words import Buried

#: Calls something that waits for the store, and awaits it.
Aside = Callable[..., Awaitable[Any]]


async def at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call it here and now: for a worker that is turned by hand."""
    return work(*arguments)


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

    def over(self, link: Link | AsyncLink) -> None:
        """Use this link from now on."""
        self._link = link

    async def read(self, count: int, block_s: float) -> told.Read:
        """Wait for at most `count` assignments, and for orders; without room for orders only."""
        command: list[Argument] = ["XREAD", "COUNT", max(count, 1)]
        if block_s > 0:
            command += ("BLOCK", max(1, min(int(block_s * 1000), MAX_BLOCK_MS)))
        streams = [self._work, self._control] if count > 0 else [self._control]
        restarts = self._restarts
        cursors = [self._cursors[stream] for stream in streams]
        reply = self._link.call(*command, "STREAMS", *streams, *cursors)
        found = await reply if isawaitable(reply) else reply
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
    return told.Read(found, [o for o in map(decode_cancellation, orders) if o is not None], junk)


class Errands:
    """The actions that are for the store."""

    def __init__(self, link: Link, keys: Keys, worker: str, limits: Limits | None) -> None:
        self._link, self._keys, self._worker = link, keys, worker
        self._attempts = Attempts(link, keys, worker, limits)
        self._rescue = Rescue(link, keys, limits)
        self._aside: Aside = at_once

    def go_aside(self, aside: Aside) -> None:
        """Wait for the store in this way from now on."""
        self._aside = aside

    async def begin(self, action: do.Begin) -> told.Begun:
        """Take the last look before running."""
        answer = await self._aside(self._attempts.begin, action.assignments, action.with_bodies)
        return told.Begun(*answer)

    async def finish(self, finishes: Sequence[Finish]) -> list[tuple[str, str]]:
        """Write ends; return what became of each: a word and its detail."""
        answers: list[tuple[str, str]] = await self._aside(self._attempts.finish, finishes)
        return answers

    async def relay(self, action: do.Relay) -> told.Relayed:
        """Send chunks."""
        return told.Relayed(await self._aside(self._attempts.relay, action.chunks))

    async def look(self, action: do.Look) -> told.Looked:
        """See which attempts nobody wants any more."""
        return told.Looked(await self._aside(self._attempts.without_use, action.attempts))

    async def tell(self, action: do.Tell) -> None:
        """Tell of first tokens."""
        await self._aside(self._attempts.progress, action.told, action.began)

    async def quarantine(self, action: do.Quarantine) -> None:
        """Move junk to the dead letters."""
        await self._aside(self._rescue.quarantine, self._keys.work(self._worker), action.junk)

    async def bury(self) -> bool:
        """Sign off; return whether that was done, for something may have come meanwhile."""
        membership = Membership(self._link, self._keys)
        return bool(await self._aside(membership.bury, self._worker) == Buried.OK)

    def close(self) -> None:
        """Drop the connection; the next errand opens a new one."""
        self._link.close()
