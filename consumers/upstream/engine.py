"""The engine `openai`: a server that speaks OpenAI's API, behind the interface of all engines.

Each request is a task of its own; one more looks at the server again and again. What they tell goes
to the host at once. How much the server may be given is the `valve`'s word: the engine tells its
host of that as its `Condition`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from parallax.consumers.engines.interface import Condition, Done, Event, Host, Task
from parallax.consumers.upstream.asked import Served, asked
from parallax.consumers.upstream.backend import Backend
from parallax.consumers.upstream.door import Door
from parallax.consumers.upstream.exchange import Exchange, pause_s
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.kinds import USUAL_SLOTS, Facts
from parallax.consumers.upstream.probing import load, look
from parallax.consumers.upstream.valve import Valve
from parallax.core.clock import Clock
from parallax.engine.request import Consumed, Request

log = logging.getLogger(__name__)

#: How often a server is looked at while it is well, while it is not, and how often all that it says
#: of itself is read again (seconds).
LOOK_S, LOOK_SOON_S, LEARN_S = 2.0, 0.5, 30.0

#: The longest list of models in a registration (characters); names that do not fit are left out.
MOST_LISTED = 32_000


@dataclass(slots=True)
class _Running:
    exchange: Exchange
    task: Task | None = None


@dataclass(slots=True)
class UpstreamEngine:
    """See the module's docstring. Without `facts` nothing is known until the first look."""

    backend: Backend
    clock: Clock
    key: str = field(default="", repr=False)
    facts: Facts | None = None
    random: Random = field(default_factory=Random)
    name: str = "openai"
    reads_bodies: bool = True
    kv_used: float = 0.0
    _valve: Valve = field(init=False)
    _running: dict[str, _Running] = field(default_factory=dict)
    _told: tuple[bool, int, str] | None = None

    _host: Host = field(init=False)
    _door: Door = field(init=False)
    _look_now: asyncio.Event = field(init=False)

    def __post_init__(self) -> None:
        self._valve = Valve(self._slots())
        if self.facts is not None:
            self._valve.seen()

    # -- what it is -------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """See `interface.Engine`."""
        return self._valve.slots

    @property
    def kv_capacity(self) -> int:
        """See `interface.Engine`."""
        return self.facts.kv_capacity if self.facts else 0

    @property
    def ready(self) -> bool:
        """See `interface.Engine`."""
        return self._valve.ready(self.clock.monotonic())

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        about: dict[str, str | int | float] = {"backend": self.backend.root, "kind": self._kind()}
        if self.facts is not None:
            about["models"] = listed(self.facts.models)
            if self.facts.context:
                about["context"] = self.facts.context
        return about

    def _kind(self) -> str:
        return self.facts.kind if self.facts else self.backend.kind or "openai"

    def _slots(self) -> int:
        told = self.facts.slots if self.facts else None
        return self.backend.slots or told or USUAL_SLOTS[self._kind()]

    # -- life -------------------------------------------------------------------------------------

    def start(self, host: Host) -> None:
        """See `interface.Engine`. Raises RuntimeError in a host without an event loop."""
        self._host = host
        self._look_now = asyncio.Event()
        self._door = Door(self.backend, self.key)
        host.run(self._watch())
        self._tell_condition()

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        models = self.facts.models if self.facts else ()
        wanted = asked(request, Served(self._kind(), models, self.backend.model))
        exchange = Exchange(request, wanted, self.clock, self.backend.timeouts, now)
        running = self._running[request.id] = _Running(exchange)
        running.task = self._host.run(self._serve(running))

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`: its connection is closed at once."""
        running = self._running.pop(request_id, None)
        if running is None:
            return None
        if running.task is not None:
            running.task.cancel()
        return running.exchange.consumed()

    # -- requests ---------------------------------------------------------------------------------

    async def _serve(self, running: _Running) -> None:
        exchange = running.exchange
        try:
            await self._tries(running)
        except Failure as failure:
            self._end(running, _failed(exchange, failure, self.clock.monotonic()))
        except Exception as error:
            log.exception("the engine failed at %s", exchange.request.id)
            why = f"the engine failed: {error!r:.200}"
            now = self.clock.monotonic()
            self._end(running, Done(exchange.request.id, now, error=why, again=True))

    async def _tries(self, running: _Running) -> None:
        """Ask the server; while it is busy, again and again, as long as a request may stay."""
        exchange, tries = running.exchange, 0
        while True:
            tries += 1
            try:
                await exchange.run(self._door, self._tell, partial(self._end, running))
            except Failure as failure:
                self._note(failure)
                now = self.clock.monotonic()
                pause = pause_s(tries, failure, self.random)
                late = now + pause > exchange.added + self.backend.timeouts.busy_s
                if not failure.busy or exchange.first is not None or late:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    def _note(self, failure: Failure) -> None:
        now = self.clock.monotonic()
        if failure.busy:
            self._valve.busy(failure.why, now)
        elif failure.untouched:
            self._valve.lost(failure.why)
            self._look_now.set()
        elif failure.blames:
            self._valve.failed(failure.why, now)
            self._look_now.set()
        self._tell_condition()

    def _end(self, running: _Running, done: Done) -> None:
        """Tell of an end, if the request has not been stopped meanwhile."""
        if self._running.get(done.id) is not running:
            return
        del self._running[done.id]
        if not done.error:
            self._valve.succeeded()
        self._tell([done])
        self._tell_condition()

    def _tell(self, events: Sequence[Event]) -> None:
        self._host.tell(events)

    # -- the server -------------------------------------------------------------------------------

    def _tell_condition(self) -> None:
        now = self.clock.monotonic()
        ready, slots, why = self._valve.ready(now), self._valve.slots, self._valve.reason
        said = (ready, slots, why if not ready else "")
        if said == self._told:
            return
        if self._told is None or ready != self._told[0]:
            where = self.backend.root
            if ready:
                log.info("backend %s is ready: %d slots", where, slots)
            else:
                log.warning("backend %s is not ready: %s", where, why or self._valve.why)
        self._told = said
        self._tell([Condition(now, ready, slots, why)])

    async def _watch(self) -> None:
        """Look at the server again and again, as long as the host lives."""
        learnt = float("-inf") if self.facts is None else self.clock.monotonic()
        try:
            while True:
                now = self.clock.monotonic()
                afresh = bool(self._valve.missing) or now - learnt >= LEARN_S
                try:
                    await self._look(afresh=afresh)
                    learnt = now if afresh else learnt
                except Failure as failure:
                    self._valve.lost(failure.why)
                except Exception:  # without it nobody would ever know that the server is well again
                    log.exception("looking at the backend failed")
                self._tell_condition()
                await self._wait()
        finally:
            await self._door.close()

    async def _look(self, *, afresh: bool) -> None:
        if afresh:
            self.facts = await look(self._door, self.backend)
            self._valve.resize(self._slots())
        found = await load(self._door, self._kind())
        self.kv_used = found.kv_used or 0.0
        self._valve.seen()

    async def _wait(self) -> None:
        """Wait until it is time to look again: soon, if something went wrong."""
        now = self.clock.monotonic()
        self._look_now.clear()
        due = self._valve.next_due(now)
        wait_s = LOOK_S if self._valve.ready(now) else LOOK_SOON_S
        if due is not None:
            wait_s = min(wait_s, max(0.01, due - now))
        try:
            async with asyncio.timeout(wait_s):
                if self._valve.ready(now):
                    await self._look_now.wait()
                else:
                    await asyncio.sleep(wait_s)
        except TimeoutError:
            pass


def listed(models: Sequence[str]) -> str:
    """Return models as a registration names them: with commas between them."""
    whole = ",".join(name for name in models if "," not in name)
    return whole if len(whole) <= MOST_LISTED else whole[: whole.rindex(",", 0, MOST_LISTED)]


def _failed(exchange: Exchange, failure: Failure, now: float) -> Done:
    consumed, used = exchange.consumed(), exchange.stream.used
    touched = exchange.first is not None or not failure.untouched
    prompt = consumed.prompt_tokens if exchange.first is not None else 0
    return Done(
        exchange.request.id, now, used.output_tokens or 0, used.cached_tokens, exchange.sent,
        error=failure.why, again=failure.again, untouched=not touched, prompt_tokens=prompt,
    )  # fmt: skip
