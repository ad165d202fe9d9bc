"""Submits for many callers at once: their jobs of one turn of the loop are one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from parallax.broker.link.async_link import AsyncLink, repeated
from parallax.broker.store.confirming import Replicated, submitted
from parallax.broker.store.intake import Receipt, submit_call
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault
from parallax.core.model import Job
from parallax.producers.client.batches import batches
from parallax.producers.client.ticks import Ticks


@dataclass(frozen=True, slots=True)
class Offer:
    """One caller's submission; `reply` names the stream that is told, None: each job its own."""

    jobs: Sequence[Job]
    reply: str | None
    bodies: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Place:
    """A job of an offer: whose it is, and which one."""

    offer: int
    number: int
    job: Job


class Door:
    """Submits what callers offer, together, in calls that Redis takes in a few milliseconds."""

    def __init__(
        self, link: AsyncLink, keys: Keys, limits: Limits, random: Random, *, shared_prefixes: bool,
        replicated: Replicated | None = None,
    ) -> None:  # fmt: skip
        self._link, self._keys, self._limits = link, keys, limits
        self._random, self._shared = random, shared_prefixes
        # Whoever waits for replicas keeps what comes behind it on its connection waiting.
        self._replicated = replicated
        self._own = link.twin() if replicated else link
        self._offers = Ticks(self._submitted)

    async def submit(self, offer: Offer) -> list[Receipt]:
        """Return the receipts of an offer's jobs, in their order.

        Raises what Redis said if it answered for none of them; else the receipts of those without
        an answer say it.
        """
        return await self._offers.ask(offer) if offer.jobs else []

    async def _submitted(self, offers: list[Offer]) -> list[list[Receipt] | Exception]:
        came: list[list[Receipt | ParallaxError]] = [[] for _ in offers]
        for n, offer in enumerate(offers):
            came[n] = [StoreFault("never sent")] * len(offer.jobs)
        parts = [part for reply in self._replies(offers) for part in _parts(offers, reply)]
        answers = await asyncio.gather(*(self._part(offers, part) for part in parts))
        for part, told in zip(parts, answers, strict=True):
            for place, one in zip(part, told, strict=True):
                came[place.offer][place.number] = one
        return [_told(offer, own) for offer, own in zip(offers, came, strict=True)]

    @staticmethod
    def _replies(offers: Sequence[Offer]) -> list[str | None]:
        return list(dict.fromkeys(offer.reply for offer in offers))

    async def _part(
        self, offers: Sequence[Offer], part: Sequence[_Place]
    ) -> Sequence[Receipt | ParallaxError]:
        """Submit jobs of several callers; one caller's bad job harms no other's."""
        try:
            return await self._sent(offers, part)
        except (StoreFault, InvalidInput) as error:
            whose = list(dict.fromkeys(place.offer for place in part))
            if len(whose) == 1:
                return [error] * len(part)
        except ParallaxError as error:
            return [error] * len(part)
        apart = [[place for place in part if place.offer == n] for n in whose]
        answers = await asyncio.gather(*(self._part(offers, own) for own in apart))
        each = {n: iter(told) for n, told in zip(whose, answers, strict=True)}
        return [next(each[place.offer]) for place in part]

    async def _sent(self, offers: Sequence[Offer], part: Sequence[_Place]) -> list[Receipt]:
        reply = offers[part[0].offer].reply
        bodies = {
            place.job.id: offers[place.offer].bodies[place.job.id]
            for place in part if place.job.id in offers[place.offer].bodies
        }  # fmt: skip
        jobs = [place.job for place in part]
        call = submit_call(self._keys, self._limits, jobs, reply, bodies, self._shared)
        asked = self._replicated
        if asked is None:
            return await repeated(lambda: self._link.do(call), self._random)
        return await repeated(
            lambda: self._own.carry(submitted(call, self._keys, asked)), self._random
        )

    async def close(self) -> None:
        """Drop the connection that waits for replicas, if there is one."""
        if self._own is not self._link:
            await self._own.close()


def _parts(offers: Sequence[Offer], reply: str | None) -> Iterator[Sequence[_Place]]:
    """Yield what goes to one stream in parts that are small enough, each id once in a part."""
    for run in _runs(offers, reply):
        bodies = {p.job.id: offers[p.offer].bodies.get(p.job.id, b"") for p in run}
        start = 0
        for batch in batches([place.job for place in run], bodies):
            yield run[start : start + len(batch)]
            start += len(batch)


def _runs(offers: Sequence[Offer], reply: str | None) -> Iterator[list[_Place]]:
    run: list[_Place] = []
    seen: set[str] = set()
    for n, offer in enumerate(offers):
        for number, job in enumerate(offer.jobs if offer.reply == reply else ()):
            if job.id in seen:  # the same job twice: the second is answered what it is then
                yield run
                run, seen = [], set()
            run.append(_Place(n, number, job))
            seen.add(job.id)
    if run:
        yield run


def _told(offer: Offer, came: Sequence[Receipt | ParallaxError]) -> list[Receipt] | Exception:
    errors = [one for one in came if isinstance(one, ParallaxError)]
    if len(errors) == len(came):
        return errors[0]
    return [
        one if isinstance(one, Receipt) else Receipt.failed(job.id, one)
        for job, one in zip(offer.jobs, came, strict=True)
    ]
