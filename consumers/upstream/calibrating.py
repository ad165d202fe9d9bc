"""Measuring a running server: rounds of requests, as many as there is time for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from parallax.consumers.upstream.backend import Backend
from parallax.consumers.upstream.door import Door
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.kinds import Facts
from parallax.consumers.upstream.probing import look
from parallax.consumers.upstream.timing import Manner, timed
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.services.orders import Orders
from parallax.sim.calibration.points import Timed, at_once
from parallax.sim.calibration.rounds import (
    AGAIN,
    LEAST_LONGEST,
    Measured,
    Round,
    one_pass,
)

#: Words that nearly every tokenizer has as one token each.
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "with", "be", "have")
#: Most requests at once while slots are counted, and tokens of their answers.
MOST_AT_ONCE, COUNTED_TOKENS = 32, 24
#: Longest prompt where a server does not tell what it takes, and the share of what it does tell.
USUAL_LONGEST, SHARE_OF_CONTEXT = 1024, 0.5
_POLL_S = 0.1
_TRIES = 3
#: How often and for how long requests are sent before anything counts.
_WARMINGS, _WARM_TOKENS = 3, 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user said of a calibration; None: found out."""

    seconds: float
    passes: int
    slots: int | None
    longest: int | None
    output: int
    seed: int


@dataclass(slots=True)
class Found:
    """What is known of a server when the measuring ends."""

    facts: Facts
    slots: int = 1
    slots_told: bool = False  # by the user or by the server
    longest: int = USUAL_LONGEST
    tokens_a_word: float = 1.0
    measured: Measured = field(default_factory=Measured)
    rounds: int = 0
    planned: int = 0


class _Over(Exception):
    """There is no more time, or the user wants it to end."""


class Measuring:
    """Measures one server. `orders` and the clock end it early; what is there by then counts."""

    def __init__(
        self, backend: Backend, key: str, wanted: Wanted, clock: Clock, orders: Orders,
        told: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._backend, self._key, self._wanted = backend, key, wanted
        self._clock, self._orders, self._told = clock, orders, told
        self._random = Random(f"{wanted.seed}/calibrate")
        self._until = clock.monotonic() + wanted.seconds
        self._last = ""  # the prompt that was sent last
        self._manner = Manner("", "")

    async def run(self) -> Found:
        """Measure; raises Failure where the server cannot be asked, Interrupted before that."""
        async with Door(self._backend, self._key) as door:
            facts = await look(door, self._backend)
            found = Found(facts)
            try:
                await self._get_to_know(door, found)
                await self._measure(door, found)
            except _Over:
                pass
            return found

    # -- what it is

    async def _get_to_know(self, door: Door, found: Found) -> None:
        facts = found.facts
        model = self._backend.model or next(iter(facts.models), "")
        self._manner = Manner(model, facts.kind)
        short = await self._first(door)
        long = await self._one(door, self._text(2 * _WARM_TOKENS), 4)
        found.tokens_a_word = max(0.1, (long.prompt_tokens - short.prompt_tokens) / _WARM_TOKENS)
        for _ in range(_WARMINGS):
            await self._one(door, self._text(_WARM_TOKENS), 8)
        told = self._wanted.slots or self._backend.slots or facts.slots
        found.slots_told = told is not None
        found.slots = told or await self._count_slots(door)
        found.longest = self._longest(facts)

    async def _first(self, door: Door) -> Timed:
        """Ask for the first time; a server without completions is asked to chat."""
        text = self._text(_WARM_TOKENS)
        try:
            return await self._one(door, text, 4)
        except Failure:
            plain, self._manner = self._manner, Manner(self._manner.model, self._manner.kind, True)
            try:
                return await self._one(door, text, 4)
            except Failure as failure:
                self._manner = plain
                raise ParallaxError(f"{self._backend.root} cannot be asked: {failure}") from None

    async def _count_slots(self, door: Door) -> int:
        """Return how many requests run at once, by sending more and more."""
        count, running = 2, 1
        while running >= count // 2 and count <= MOST_AT_ONCE:
            self._told(f"counting slots: {count} requests at once")
            texts = [self._text(_WARM_TOKENS) for _ in range(count)]
            running = at_once(await self._together(door, texts, COUNTED_TOKENS))
            if running < count:
                return max(1, running)
            count *= 2
        return running

    def _longest(self, facts: Facts) -> int:
        if self._wanted.longest is not None:
            return self._wanted.longest
        room = int(facts.context * SHARE_OF_CONTEXT) if facts.context else USUAL_LONGEST
        return max(LEAST_LONGEST, min(USUAL_LONGEST, room))

    # -- rounds

    async def _measure(self, door: Door, found: Found) -> None:
        rounds = one_pass(found.slots, found.longest, self._wanted.output) * self._wanted.passes
        found.planned, began = len(rounds), self._clock.monotonic()
        for one in rounds:
            found.measured.add(one.kind, await self._round(door, found, one))
            found.rounds += 1
            each = (self._clock.monotonic() - began) / found.rounds
            left = min(each * (len(rounds) - found.rounds), self._until - self._clock.monotonic())
            self._told(f"{found.rounds} of {len(rounds)} rounds, about {max(0.0, left):.0f} s left")

    async def _round(self, door: Door, found: Found, one: Round) -> list[Timed]:
        if one.kind == AGAIN:
            return [await self._one(door, self._last, one.output_tokens)]
        words = max(1, round(one.prompt_tokens / found.tokens_a_word))
        texts = [self._text(words) for _ in range(one.requests)]
        return await self._together(door, texts, one.output_tokens)

    def _text(self, words: int) -> str:
        """Return so many words. No two texts begin alike, so no cache knows them."""
        return " ".join(self._random.choices(WORDS, k=words))

    async def _one(self, door: Door, text: str, tokens: int) -> Timed:
        (found,) = await self._together(door, [text], tokens)
        return found

    async def _together(self, door: Door, texts: list[str], tokens: int) -> list[Timed]:
        self._last = texts[0]
        return await self._in_time(self._all(door, texts, tokens))

    async def _all(self, door: Door, texts: list[str], tokens: int) -> list[Timed]:
        """Ask all of it at once; the first that fails ends the others."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._timed(door, text, tokens)) for text in texts]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _timed(self, door: Door, text: str, tokens: int) -> Timed:
        """Ask once; again if the connection broke, as servers close one after so many requests."""
        whole_s = self._backend.timeouts.whole_s
        for _ in range(_TRIES - 1):
            try:
                return await timed(door, self._manner, text, tokens, self._clock, whole_s)
            except Failure as failure:
                if not failure.again:
                    raise
        return await timed(door, self._manner, text, tokens, self._clock, whole_s)

    async def _in_time(self, doing: Coroutine[Any, Any, T]) -> T:
        """Do it unless the time is over or the user has enough; raises _Over then."""
        if self._over():
            doing.close()
            raise _Over
        task = asyncio.ensure_future(doing)
        while not task.done():
            await asyncio.wait({task}, timeout=_POLL_S)
            if not task.done() and self._over():
                task.cancel()
                await asyncio.wait({task})
                raise _Over
        return task.result()

    def _over(self) -> bool:
        return self._orders.stop.is_set() or self._clock.monotonic() >= self._until
