"""Which models there are: what the workers say that they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from parallax.broker.store.membership import Member
from parallax.core.clock import Clock
from parallax.producers.gateway.fresh import Fresh
from parallax.producers.gateway.problems import Code, Problem

#: How old what is known may be (seconds), and most models that a worker may name.
FRESH_S, MOST_MODELS = 1.0, 1_000


@dataclass(frozen=True, slots=True)
class Served:
    """A model: when it was first seen here, and how many live workers serve it."""

    name: str
    since: int
    live: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the workers told."""

    models: Mapping[str, Served]
    live: int


def models_of(member: Member) -> tuple[str, ...]:
    """Return the models that a worker serves; one that names none serves its engine's."""
    named = str(member.registration.about.get("models", ""))
    found = [one.strip() for one in named.split(",")[:MOST_MODELS]]
    return tuple(one for one in found if one) or (member.registration.engine,)


class Models:
    """The models of a cell, looked up at most once a second, and only if somebody asks."""

    def __init__(self, members: Callable[[], Sequence[Member]], clock: Clock) -> None:
        """`members` asks the store; it is called beside the loop."""
        self._members, self._clock = members, clock
        self._since: dict[str, int] = {}
        self._seen = Fresh(self._look, clock, FRESH_S)

    async def known(self) -> Mapping[str, Served]:
        """Return the models by name; raises Unreachable."""
        return (await self._seen.get()).models

    async def live_workers(self) -> int:
        """Return how many workers are alive; raises Unreachable."""
        return (await self._seen.get()).live

    def _look(self) -> Seen:
        members, now = self._members(), int(self._clock.now())
        live: dict[str, int] = {}
        for member in members:
            for name in models_of(member):
                live[name] = live.get(name, 0) + member.alive
        self._since = {name: self._since.get(name, now) for name in live}
        served = {name: Served(name, self._since[name], live[name]) for name in sorted(live)}
        return Seen(served, sum(member.alive for member in members))

    async def check(self, name: str) -> None:
        """Raise Problem unless there is such a model; without any worker nobody can tell."""
        known = await self.known()
        if name and known and name not in known:
            raise missing(name, known)

    async def await_worker(self, name: str, hold_s: float) -> None:
        """Return once a live worker serves the model ('' = any); raises Problem after `hold_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + hold_s
        while True:
            await self.check(name)
            served = (await self.known()).values()
            if any(one.live for one in served if name in {"", one.name}):
                return
            left = until - loop.time()
            if left <= 0:
                said = f"no live worker serves {name!r}" if name else "there is no live worker"
                raise Problem(503, Code.NO_BACKENDS, said, retry_after_s=5.0)
            await asyncio.sleep(min(left, FRESH_S))


def missing(name: str, known: Mapping[str, Served]) -> Problem:
    """Return that there is no such model, with the names of those that there are."""
    some = ", ".join(list(known)[:20])
    said = f"the model {name[:100]!r} does not exist; there are: {some}"
    return Problem(404, Code.MODEL_NOT_FOUND, said, param="model")
