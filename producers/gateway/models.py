"""Which models there are: what the workers say that they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from parallax.broker.store.membership import Member, models_of
from parallax.core.clock import Clock
from parallax.producers.gateway.fresh import Fresh
from parallax.producers.gateway.problems import Code, Problem

#: How old the copy may be (seconds).
FRESH_S = 1.0

#: A model that was served lately is known for so long after its last worker (seconds), and at most
#: so many are: a request for one waits for a worker to come back.
REMEMBER_S, MOST_REMEMBERED = 3_600.0, 1_000


@dataclass(frozen=True, slots=True)
class Served:
    """A model: when it was first seen here, and how many live workers serve it."""

    name: str
    since: int
    live: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of one look at the workers."""

    models: Mapping[str, Served]
    live: int


class Models:
    """The models of a cell, looked up at most once a second, and only if somebody asks.

    An alias is known as long as the model is that it stands for; `default` is for who names none.
    """

    def __init__(
        self,
        members: Callable[[], Sequence[Member]],
        clock: Clock,
        aliases: Mapping[str, str] | None = None,
        default: str = "",
        learn_s: float = 0.0,
    ) -> None:
        """`members` asks the store; it is called beside the loop.

        For the first `learn_s` seconds no model is unknown: after a crash of many its workers may
        come back a little later than the gateway, and no client may be told never to come again.
        """
        self._members = members
        self._aliases, self._default = dict(aliases or {}), default
        self._clock, self._learnt = clock, clock.monotonic() + learn_s
        self._known: dict[str, tuple[int, int]] = {}  # since when, and until when
        self._seen = Fresh(self._look, clock, FRESH_S)

    async def known(self) -> Mapping[str, Served]:
        """Return the models by name; raises Unreachable."""
        return (await self._seen.get()).models

    async def meant_by(self, name: str) -> str:
        """Return what a name stands for, whether there is such a model or not."""
        name = name or self._default
        name = self._aliases.get(name, name)
        latest = f"{name}:latest"  # Ollama's name for a model without a tag
        known = await self.known() if name else {}
        return latest if name and name not in known and latest in known else name

    async def live_workers(self) -> int:
        """Return how many workers are alive; raises Unreachable."""
        return (await self._seen.get()).live

    def _look(self) -> Seen:
        members, now = self._members(), int(self._clock.now())
        live: dict[str, int] = {}
        for member in members:
            serves = member.alive and not member.draining
            for name in filter(None, models_of(member.registration)):
                live[name] = live.get(name, 0) + serves
        self._remember(live, now)
        served = {
            name: Served(name, since, live.get(name, 0))
            for name, (since, _) in sorted(self._known.items())
        }
        for alias, model in sorted(self._aliases.items()):
            if model in served:
                served.setdefault(alias, replace(served[model], name=alias))
        return Seen(served, sum(member.alive for member in members))

    def _remember(self, live: Mapping[str, int], now: int) -> None:
        """Note the models served now, and forget those that have not been for long."""
        until = now + int(REMEMBER_S)
        for name in live:
            self._known[name] = (self._known.get(name, (now, 0))[0], until)
        known = {name: seen for name, seen in self._known.items() if seen[1] > now}
        kept = sorted(known, key=lambda name: known[name][1], reverse=True)[:MOST_REMEMBERED]
        self._known = {name: known[name] for name in kept}

    async def check(self, name: str) -> None:
        """Raise Problem unless there is such a model; without any worker nobody can tell."""
        known = await self.known()
        if name and known and name not in known and self._clock.monotonic() >= self._learnt:
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
