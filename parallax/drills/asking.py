"""Clients of gateways: they ask at a steady rate, whatever goes wrong, and note what comes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field, replace
from random import Random

from parallax.core.clock import Clock
from parallax.drills.exchanges import End, Exchange, judged
from parallax.drills.gateways import Gateways
from parallax.drills.http import Connection, Reply, request_of
from parallax.drills.wishes import Manner, Wish, Wishes

#: Most wishes that are under way at once: a machine that is too slow for the rate is asked less.
MOST_OPEN = 48
#: How long a client waits to be answered (seconds): longer than any gateway waits for news.
PATIENCE_S = 120.0
#: How often a client asks again whose connection was cut, and how long it waits before.
_TRIES, _PAUSE_S, _CONNECT_S = 6, 0.5, 10.0
_TICK_S = 0.02
#: Connections that are kept to a gateway, and for how long: a gateway closes them after 15 s.
_IDLE, _IDLE_S = 8, 5.0


@dataclass(slots=True)
class Asking:
    """The clients of one drill, in a thread of their own with an event loop."""

    gateways: Gateways
    clock: Clock
    random: Random  # for what a seed does not decide: it is asked as things happen
    rate: float  # wishes per second
    wishes: Wishes
    exchanges: list[Exchange] = field(default_factory=list)
    lag_s: float = 0.0  # how long the loop stood still, at most: a machine may be that busy
    _idle: dict[int, list[tuple[float, Connection]]] = field(default_factory=dict)

    def run(self, over: threading.Event) -> None:
        """Ask until it is over, and wait for what is under way."""
        with asyncio.Runner() as runner:
            runner.run(self._run(over))

    async def _run(self, over: threading.Event) -> None:
        open_: set[asyncio.Task[None]] = set()
        due = looked = self.clock.monotonic()
        while not over.is_set():
            now = self.clock.monotonic()
            self.lag_s = max(self.lag_s, now - looked - _TICK_S)
            looked, due = now, max(due, now - 1.0)
            while due <= now and len(open_) < MOST_OPEN:
                due += 1 / self.rate
                task = asyncio.ensure_future(self._grant(self.wishes.next()))
                open_.add(task)
                task.add_done_callback(open_.discard)
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*open_)
        await self.close()

    async def close(self) -> None:
        """Close what connections there are."""
        for connections in self._idle.values():
            for _, connection in connections:
                connection.close()
        await asyncio.sleep(0)  # a connection is closed in the next turn of the loop

    async def _grant(self, wish: Wish) -> None:
        """Do what the client of a wish does."""
        first, *others = self.random.sample(list(self.gateways.ports), len(self.gateways.ports))
        second = others[0] if others else first
        match wish.manner:
            case Manner.TWICE:
                await asyncio.gather(self._insist(wish, first), self._insist(wish, second))
            case Manner.BACK:
                await self._once(wish, first)
                await self._insist(replace(wish, leave=None), second)
            case Manner.OTHER:
                await self._insist(wish, first)
                await self._once(wish, second, other=True)
            case Manner.AGAIN:
                await self._insist(wish, first)
                await self._once(wish, second)
            case _:
                if await self._once(wish, first) is End.REFUSED:
                    await self._once(wish, second)

    async def _insist(self, wish: Wish, gateway: str) -> None:
        """Ask, and ask again, elsewhere too, while connections are cut or nobody listens."""
        for _ in range(_TRIES):
            if await self._once(wish, gateway) not in {End.CUT, End.REFUSED}:
                return
            await asyncio.sleep(_PAUSE_S)
            gateway = self.random.choice(list(self.gateways.ports))

    async def _once(self, wish: Wish, gateway: str, *, other: bool = False) -> End:
        began = self.clock.now()
        reply = await self._ask(wish, gateway, other=other)
        ended = self.clock.now()
        if reply is None:
            exchange = Exchange(wish.name, gateway, began, ended, End.REFUSED)
        else:
            exchange = judged(wish, gateway, (began, ended), reply, other=other)
        self.exchanges.append(exchange)
        return exchange.end

    async def _ask(self, wish: Wish, gateway: str, *, other: bool) -> Reply | None:
        """Return what came of a request; None if nobody listens."""
        port = self.gateways.ports[gateway]
        try:
            connection = self._kept(port) or await Connection.to(port, _CONNECT_S)
        except OSError:
            return None
        headers = wish.headers(self.gateways.token)
        request = request_of(wish.path, wish.body(other=other), headers)
        reply = await connection.ask(request, PATIENCE_S, wish.leave)
        idle = self._idle.setdefault(port, [])
        if connection.reusable and len(idle) < _IDLE:
            idle.append((self.clock.monotonic(), connection))
        else:
            connection.close()
        return reply

    def _kept(self, port: int) -> Connection | None:
        """Return a connection that was used before, in half of the cases where there is one."""
        kept = self._idle.get(port, [])
        while kept and self.random.random() < 0.5:
            since, connection = kept.pop()
            if not connection.stale and self.clock.monotonic() - since < _IDLE_S:
                return connection
            connection.close()
        return None
