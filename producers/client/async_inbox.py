"""One inbox of an event loop: one task reads it, and each waiting caller has its mail."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import NamedTuple

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.store import results
from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Notice
from parallax.core.errors import BrokenAnswer, ParallaxError, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.producers.client.bookmark import Bookmark
from parallax.producers.client.completion import (
    LAST_LOOK_S,
    LOOK_S,
    MOST_RECORDS,
    Completion,
)

#: How long one read of the inbox may take (milliseconds).
LISTEN_MS = 500
#: Ends of jobs that nobody has asked for yet, and bytes of their answers; the oldest are forgotten,
#: their records are not.
KEPT, KEPT_BYTES = 10_000, 64 << 20
#: Bytes of an answer in pieces that a reader may be behind: then it is told that it lost some.
MOST_UNREAD = 8 << 20


class Told(NamedTuple):
    """A message for a waiting caller: a chunk of an answer, or an end.

    An end that is `recorded` was found in the job's record: what else was told of it is lost.
    """

    notice: Notice | None = None
    completion: Completion | None = None
    recorded: bool = False


class Mail:
    """The messages for one waiting caller that it has not taken yet."""

    def __init__(self) -> None:
        self._told: deque[Told] = deque()
        self._bytes = 0
        self._error: ParallaxError | None = None
        self._came = asyncio.Event()

    def put(self, told: Told) -> None:
        """Add messages; a reader that is too far behind gets no more pieces, but an error."""
        if told.notice is not None:
            self._bytes += len(told.notice.data)
        if self._bytes > MOST_UNREAD:
            self._told.clear()
            self.fail(BrokenAnswer(f"its reader is {self._bytes >> 20} MB behind"))
        elif self._error is None:
            self._told.append(told)
            self._came.set()

    def fail(self, error: ParallaxError) -> None:
        """Tell that nothing more will come."""
        self._error = self._error or error
        self._came.set()

    async def take(self, timeout_s: float) -> list[Told]:
        """Return the messages, and wait for some; nothing after `timeout_s` without any.

        Raises what made reading impossible.
        """
        if not self._told and self._error is None:
            self._came.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._came.wait()
        if not self._told and self._error is not None:
            raise self._error
        taken = list(self._told)
        self._told.clear()
        self._bytes = 0
        return taken


class Inbox:
    """Reads one stream, and hands each waiting caller its messages.

    It is a hint that makes waiting cheap; the truth is in the records, which are looked at when the
    inbox is silent. So a lost hint delays an end and never loses it.
    """

    def __init__(self, link: AsyncLink, keys: Keys, random: Random) -> None:
        self.name = f"inbox-{secrets.token_hex(8)}"
        self._link, self._keys, self._random = link, keys, random
        self._bookmark = Bookmark()
        self._ended: OrderedDict[str, Completion] = OrderedDict()
        self._ended_bytes = 0
        self._waiting: dict[str, list[Mail]] = {}
        self._unseen: list[str] = []  # whose turn it is to be looked at
        self._reader: asyncio.Task[None] | None = None
        self._used = False

    def open(self) -> None:
        """Begin to read, if nobody does: jobs are about to be submitted."""
        self._used = True
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read_on())

    def expect(self, job_ids: Iterable[str], mail: Mail) -> None:
        """Send messages for these jobs to `mail`; earlier ones are there at once."""
        self.open()
        for job_id in job_ids:
            ended = self._let_go(job_id)
            if ended is not None:
                mail.put(Told(completion=ended))
            else:
                self._waiting.setdefault(job_id, []).append(mail)

    def leave(self, job_ids: Iterable[str], mail: Mail) -> None:
        """Nobody waits any more with this mail."""
        for job_id in job_ids:
            mails = self._waiting.get(job_id, [])
            if mail in mails:
                mails.remove(mail)
            if not mails:
                self._waiting.pop(job_id, None)

    async def close(self) -> None:
        """Stop reading, and drop the stream; who may not delete it leaves it to its TTL."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._used:
            with suppress(ParallaxError):
                await self._link.carry(results.forget(self._keys, self.name, self._bookmark.taken))

    # -- reading

    async def _read_on(self) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            try:
                notices = await self._news(LISTEN_MS)
                self._deliver(notices)
                now = loop.time()
                if self._waiting and now - looked >= (LAST_LOOK_S if notices else LOOK_S):
                    looked = now
                    await self._look()
            except Unreachable:
                await asyncio.sleep(self._random.uniform(0.0, 0.2))
            except ParallaxError as error:  # no retry will mend it: the waiting callers are told
                for mail in {mail for mails in self._waiting.values() for mail in mails}:
                    mail.fail(error)
                return

    async def _news(self, block_ms: int) -> list[Notice]:
        mark = self._bookmark
        read = results.follow(
            self._keys, self.name, mark.cursor, block_ms, forget=mark.full, taken=mark.taken
        )
        cursor, notices = await self._link.carry_blocking(read)
        mark.move(cursor, notices)
        return notices

    def _deliver(self, notices: list[Notice]) -> None:
        for notice in notices:
            if notice.word == "chunk":
                for mail in self._waiting.get(notice.job_id, ()):
                    mail.put(Told(notice))
        for completion in Completion.told(notices):
            self._end(completion, recorded=False)

    def _end(self, completion: Completion, *, recorded: bool) -> None:
        mails = self._waiting.pop(completion.job_id, None)
        for mail in mails or ():
            mail.put(Told(completion=completion, recorded=recorded))
        if not mails:
            self._keep(completion)

    async def _look(self) -> None:
        """Look at some of the records; all of them have their turn, however many there are."""
        if not self._unseen:
            self._unseen = sorted(self._waiting, reverse=True)
        page = [job for job in self._unseen[-MOST_RECORDS:] if job in self._waiting]
        found = await self._link.carry(results.records(self._keys, page))
        ended = [Completion.recorded(r, r.outcome) for r in found if r and r.outcome]
        ids = [one.job_id for one in ended if one.outcome is Outcome.COMPLETED]
        kept = await self._link.carry(results.answers(self._keys, ids)) if ids else []
        answers = dict(zip(ids, kept, strict=True))
        del self._unseen[-MOST_RECORDS:]
        if ended:
            self._deliver(await self._news(0))  # messages from before their records ended
        for one in ended:
            if one.job_id in self._waiting:
                self._end(replace(one, answer=answers.get(one.job_id) or b""), recorded=True)

    # -- what nobody has asked for yet

    def _keep(self, completion: Completion) -> None:
        self._let_go(completion.job_id)
        self._ended[completion.job_id] = completion
        self._ended_bytes += len(completion.answer)
        while len(self._ended) > KEPT or self._ended_bytes > KEPT_BYTES:
            self._let_go(next(iter(self._ended)))

    def _let_go(self, job_id: str) -> Completion | None:
        ended = self._ended.pop(job_id, None)
        self._ended_bytes -= len(ended.answer) if ended else 0
        return ended
