"""A worker's process around its desk: streams, engine, heartbeat and store, in one event loop.

    streams -> Ears --+                    +--> engine (its events come back as news)
                      +-> inbox -> Desk ---+
    engine's events --+                    +--> store (its answers come back as news)

Two tasks live in the loop: one listens to the streams, one hands the events to the desk and
carries out what it wants. So work begins as soon as it comes, and what an engine tells is heard at
once. A caller that turns a worker by hand (`run_once`) does both, one after the other.

What decides is in `desk`; faults on purpose, evidence and figures are parts of their own beside it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.consumers.desk import Desk
from parallax.consumers.engines.interface import Condition, Done, Engine, Event, Host
from parallax.consumers.errands import Ears, Errands
from parallax.consumers.heartbeat import Heartbeat
from parallax.consumers.hosts import HandHost, LoopHost, by_hand
from parallax.consumers.patience import Patience
from parallax.consumers.trouble import NEVER_FAILS, NEVER_SLOW, Failures, Slowdown, Trouble
from parallax.consumers.witness import witness
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable
from parallax.core.roles import BOTH
from parallax.core.settings import WorkerSettings
from parallax.core.words import Finished
from parallax.engine.request import Consumed
from parallax.telemetry.tracing import OFF, Tracer
from parallax.telemetry.working import WorkingMetrics

log = logging.getLogger(__name__)

#: How long a read waits for orders while no assignment would be taken, and the longest a loop waits
#: before it looks whether it is to end, and notes progress (seconds).
FULL_S, IDLE_S = 0.05, 0.25


class Worker:
    """One worker; see the module's docstring. `live` in a loop, or `run_once` again and again."""

    def __init__(
        self,
        name: str,
        links: tuple[Link | AsyncLink, Link],
        keys: Keys,
        engine: Engine,
        settings: WorkerSettings,
        clock: Clock,
        limits: Limits | None = None,
        weight: float = 1.0,
        metrics: WorkingMetrics | None = None,
        role: str = BOTH,
        version: str = "",
        slowdown: Slowdown = NEVER_SLOW,
        failures: Failures = NEVER_FAILS,
        crash_on: str = "",
        history: Path | None = None,
        models: Sequence[str] = (),
        tracer: Tracer = OFF,
    ) -> None:
        self.id = f"{name}-{secrets.token_hex(3)}"
        self.completed = 0
        self._metrics = metrics or WorkingMetrics()
        self._engine, self._settings, self._clock = engine, settings, clock
        self.desk = Desk(
            self.id, engine.slots, settings, Random(self.id), role=role, ready=engine.ready,
            reads_bodies=engine.reads_bodies, most_bytes=(limits or Limits()).max_bytes,
        )  # fmt: skip
        # In a loop streams and store need an `AsyncLink`; the heartbeat has a thread of its own.
        self._link = links[0]
        self._ears = Ears(links[0], keys, self.id)
        self._errands = Errands(links[0], keys, self.id, limits)
        self._trouble = Trouble(slowdown, failures, crash_on)
        self._witness = witness(self.id, engine.name, clock, history, tracer)
        self._about = (weight, role, version)
        self._models = {"models": ",".join(models)} if models else {}
        incarnation = secrets.token_hex(8)
        self.heartbeat = Heartbeat(
            links[1], keys, self.id, incarnation, self._registration, settings, clock, self._report
        )
        self._inbox: deque[told.News] = deque()
        self._host: Host | None = None
        self._broken = False  # the last turn ended in a fault that is not the store's
        self._loop: asyncio.AbstractEventLoop | None = None
        self._come, self._taken = asyncio.Event(), asyncio.Event()

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Register and start the heartbeat."""
        self.heartbeat.start()
        log.info("worker %s: engine %s, %d slots", self.id, self._engine.name, self._engine.slots)

    async def live(self, until: Callable[[], bool]) -> None:
        """Work until told to stop or drained; then leave in good order."""
        if not isinstance(self._link, AsyncLink):
            raise TypeError("a worker that lives in a loop needs an AsyncLink")
        self._loop = asyncio.get_running_loop()
        host = LoopHost(self._clock, self._on_events)
        self._house(host)
        listening = asyncio.create_task(self._listen())
        try:
            await self._work(lambda: until() or self.drained)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._leave()
            await host.close()

    def drain(self) -> None:
        """Take no new work; end what runs, give the rest back, then be `drained`.

        May be called from a signal's handler, and from any thread.
        """
        self._inbox.append(told.Drain(self._clock.monotonic()))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._come.set)

    @property
    def drained(self) -> bool:
        """Whether nothing is left to do after `drain`, or no more time, as without a store."""
        now = self._clock.monotonic()  # without a store there is always something undone to hear of
        return self.desk.is_late(now) or (not self._inbox and self.desk.drained(now))

    def run_once(self) -> None:
        """One turn by hand: send pending actions, read, and run the engine's due timers."""
        by_hand(self._turn())

    def recover(self, error: Exception) -> None:
        """The store did not answer: the next turn asks again. Any other fault is no progress."""
        self._broken = not isinstance(error, ParallaxError)
        self._metrics.failed(error)
        self._errands.drop()

    def close(self) -> None:
        """Leave: give attempts back, sign off. For a worker that is turned by hand."""
        by_hand(self._leave())

    # -- loops ------------------------------------------------------------------------------------

    async def _work(self, over: Callable[[], bool]) -> None:
        """Hand events to the desk and carry out its actions, until the end."""
        patience = Patience(Random())
        while not over():
            try:
                if not await self._step():
                    await self._wait()
                patience.good()
            except Exception as error:  # noqa: BLE001 - it is told of; thousands of jobs depend on the turns after it
                self.recover(error)
                await asyncio.sleep(patience.failed(error))

    async def _listen(self) -> None:
        """Read the streams whenever the desk has taken the last read."""
        patience = Patience(Random())
        while True:
            try:
                room = self.desk.room
                most_s = self._settings.block_s if room > 0 else FULL_S
                read = await self._ears.read(room, min(most_s, self._settings.block_s))
                patience.good()
            except Exception as error:  # noqa: BLE001 - as above
                self._metrics.failed(error)
                await asyncio.sleep(patience.failed(error))
            else:
                if read.assignments or read.orders or read.junk or read.drain:
                    self._taken.clear()
                    self._on_read(read)
                    await self._taken.wait()

    async def _wait(self) -> None:
        """Wait for news, or until something is due at the desk."""
        due, now = self.desk.next_due(), self._clock.monotonic()
        wait_s = IDLE_S if due is None else min(IDLE_S, max(0.0, due - now))
        timer = asyncio.get_running_loop().call_later(wait_s, self._come.set)
        try:
            await self._come.wait()
        finally:
            timer.cancel()

    async def _turn(self) -> None:
        if self._host is None:
            self._house(HandHost(self._clock))
        while await self._step():
            pass
        self._on_read(await self._ears.read(self.desk.room, self._block_s()))
        while await self._step():
            pass
        if isinstance(self._host, HandHost):
            self._on_events(self._host.turn())
        while await self._step():
            pass

    def _block_s(self) -> float:
        """How long a read may wait in a turn by hand."""
        desk, now = self.desk, self._clock.monotonic()
        if desk.draining or (desk.waiting and len(desk.running) < self._engine.slots):
            return 0.0
        engine_due = self._host.next_due() if isinstance(self._host, HandHost) else None
        waits = [at - now for at in (desk.next_due(), engine_due) if at is not None]
        return max(0.0, min([self._settings.block_s, *waits]))

    # -- news -------------------------------------------------------------------------------------

    def _hear(self, *news: told.News) -> None:
        """Keep news for the desk, and wake it."""
        self._inbox += news
        self._come.set()

    def _on_read(self, read: told.Read) -> None:
        self._witness.read(a for a in read.assignments if not self.desk.has_seen(a.entry))
        self._metrics.malformed(len(read.junk))
        self._hear(read)
        if read.drain:
            self.drain()

    def _on_events(self, events: Sequence[Event]) -> None:
        if self._trouble.strikes:
            events = [self._trouble.told(event, self._attempt_of(event)) for event in events]
        self._inbox += events
        self._come.set()

    def _attempt_of(self, event: Event) -> str:
        known = None if isinstance(event, Condition) else self.desk.running.get(event.id)
        return "" if known is None else known.attempt.assignment.attempt

    def _house(self, host: Host) -> None:
        self._host = host
        self._engine.start(host)

    # -- steps ------------------------------------------------------------------------------------

    async def _step(self) -> bool:
        """Hand all events to the desk; carry out its actions. Return whether there were any."""
        if not self._broken:
            self.heartbeat.progressed()
        self._broken = False
        if self.heartbeat.reborn.is_set():
            self.heartbeat.reborn.clear()
            for read in [news for news in self._inbox if isinstance(news, told.Read)]:
                self._inbox.remove(read)  # the streams are read from their start: it comes again
            self._inbox.appendleft(told.Reborn())
        actions = self._desk_wants()
        await self._carry_out(actions)
        return bool(actions)

    def _desk_wants(self) -> list[do.Action]:
        """Hand all events to the desk; return its actions."""
        news: list[told.News] = [told.Fresh(self.heartbeat.fresh)]
        self._come.clear()
        while self._inbox:  # one by one: a signal may add to it at any time
            news.append(self._inbox.popleft())
        self._taken.set()
        return self.desk.handle(news, self._clock.monotonic())

    async def _carry_out(self, actions: Sequence[do.Action]) -> None:
        for n, action in enumerate(actions):
            try:
                if type(action) is do.Add:  # the most frequent one, and it waits for nothing
                    answer = self._add(action)
                else:
                    answer = await self._do(action)
            except BaseException:
                self._hear(told.Undone(actions[n:]))
                raise
            if answer is not None:
                self._hear(answer)

    async def _do(self, action: do.Action) -> told.News | None:
        match action:
            case do.Drop():
                return told.Stopped(action.attempt.job_id, self._drop(action.attempt.job_id))
            case do.Restart():
                self._ears.restart()
                self._witness.restarted()
                return None
            case do.End():
                return await self._end(action)
            case do.Begin():
                begun = await self._errands.begin(action)
                self._witness.began(begun.running)
                return begun
            case do.Relay():
                self._witness.relayed(action.chunks)
                began = self._clock.monotonic()
                relayed = await self._errands.relay(action)
                self._metrics.relayed(self._clock.monotonic() - began)
                return relayed
            case do.Look():
                return await self._errands.look(action)
            case do.Tell():
                await self._errands.tell(action)
            case do.Quarantine():
                await self._errands.quarantine(action)
        return None

    def _add(self, action: do.Add) -> told.News | None:
        """Give an attempt to the engine. Whatever it says of it, the desk must hear."""
        request = self._trouble.added(*self._witness.given(action))
        now = self._clock.monotonic()
        try:
            self._engine.add(request, now)
        except InvalidInput as error:
            return told.Refused(request.id, str(error))
        except Exception as error:
            log.exception("the engine failed at %s", request.id)
            return Done(request.id, now, error=f"the engine failed: {error!r:.200}", again=True)
        return None

    def _drop(self, job_id: str) -> Consumed | None:
        try:
            return self._engine.stop(job_id)
        except Exception:
            log.exception("the engine failed to stop %s", job_id)
            return None

    async def _end(self, action: do.End) -> told.Ended:
        finishes = action.finishes
        self._witness.asked(finishes)
        answers = await self._errands.finish(finishes)
        self._witness.answered(finishes, answers)
        words = [detail if word == Finished.OK else str(word) for word, detail in answers]
        self.completed += words.count("completed")
        self._metrics.ended(words, [finish.report for finish in finishes])
        return told.Ended()

    # -- leaving ----------------------------------------------------------------------------------

    async def _leave(self) -> None:
        try:
            actions = self._desk_wants()
            if self.desk.is_late(self._clock.monotonic()):
                raise Unreachable("nobody took back in time what it held")
            await self._carry_out(actions)
            self._hear(told.Leave())
            await self._sign_off()
        except ParallaxError as error:
            log.warning("could not leave in good order: %s", error)
        finally:
            self.heartbeat.stop()
            await self._errands.close()

    async def _sign_off(self) -> None:
        for _ in range(10):  # the leader may have sent something before it saw us drain
            while await self._step():
                pass
            if await self._errands.bury():
                return
            self._on_read(await self._ears.read(self.desk.room, 0.0))

    def _registration(self) -> Registration:
        """Build the registration; called from the heartbeat's thread. An engine may change."""
        engine, about = self._engine, {**self._engine.describe(), **self._models}
        known = engine.slots, engine.name, engine.kv_capacity
        return Registration(VERSION, *known, *self._about, about)

    def _report(self) -> Mapping[str, Argument]:
        """Build the heartbeat's report. Called from its thread: it only reads."""
        desk, kv_used = self.desk, self._engine.kv_used
        running, waiting = len(desk.running), len(desk.waiting)
        takes, resting = desk.condition.ready and not desk.draining, len(desk.resting)
        self._metrics.observe(running, waiting, resting, kv_used, self._engine.slots, takes)
        return {
            "heartbeat_ms": int(self._settings.heartbeat_s * 1000),
            "running": running,
            "waiting": waiting,
            "kv_used": f"{kv_used:.4f}",
            "draining": int(not takes),
            "unready": "" if desk.condition.ready else (desk.condition.why or "not ready")[:200],
            "completed": self.completed,
            "jobs": " ".join(list(desk.running)[:20]),
        }
