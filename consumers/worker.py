"""A worker: reads its stream, takes the last look, feeds the engine, reports what came of it.

    read (assignments, orders) -> begin -> engine.add -> events -> finish -> read ...

A worker of role `prefill` computes prompts and leaves the answers to others: its attempts end as
`prefilled`, and their KV cache waits here until the scheduler has found somebody for it.

What was read but not begun may be stolen or cancelled at any time: `begin` decides in the store.
What was begun and could not be reported stays in `unsent` and is sent again until the store
answers; answers are the same however often it is sent. What failed rests before it is reported.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from random import Random

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.attempts import (
    Assignment,
    Attempt,
    Attempts,
    Cancellation,
    Finish,
    decode_assignment,
    decode_cancellation,
)
from parallax.broker.store.codec import VERSION, Registration, Report
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Membership
from parallax.broker.store.rescue import Rescue
from parallax.consumers.engines.interface import Chunk, Done, Engine, Event
from parallax.consumers.heartbeat import Heartbeat
from parallax.consumers.history import History
from parallax.consumers.hosts import HandHost
from parallax.consumers.retries import Resting
from parallax.consumers.running import Running
from parallax.consumers.second_look import SecondLook
from parallax.consumers.trouble import NEVER_FAILS, NEVER_SLOW, Failures, Slowdown, crash_on
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable
from parallax.core.reasons import REASONS
from parallax.core.roles import BOTH, PREFILL, checked_role
from parallax.core.settings import WorkerSettings
from parallax.engine.request import Request
from parallax.telemetry.working import WorkingMetrics

log = logging.getLogger(__name__)


class Worker:
    """One worker process; see the module's docstring. A `Service`: `run_once` is one turn."""

    def __init__(
        self,
        name: str,
        links: tuple[Link, Link],
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
    ) -> None:
        self.id = f"{name}-{secrets.token_hex(3)}"
        self._metrics = metrics or WorkingMetrics()
        self._link, self._keys, self._engine = links[0], keys, engine
        self._settings, self._clock = settings, clock
        self._host = HandHost(clock)
        engine.start(self._host)
        self._attempts = Attempts(links[0], keys, self.id, limits)
        self._second_look = SecondLook(self._attempts, clock)
        self._rescue = Rescue(links[0], keys, limits)
        self._waiting: deque[Assignment] = deque()
        self._running: dict[str, Running] = {}
        self._unsent: list[Finish] = []
        self._resting = Resting(settings.retry_base_s, settings.retry_cap_s, Random(self.id))
        self._junk: list[tuple[Entry, str]] = []
        self._seen: set[str] = set()  # entries that are read a second time
        self._draining_since: float | None = None
        self._broken = False  # the last turn ended in a fault that is not the store's
        self._role, self._slowdown, self._failures = checked_role(role), slowdown, failures
        self._crash_on = crash_on
        self._history = History(history, self.id, clock)
        registration = Registration(
            VERSION, engine.slots, engine.name, engine.kv_capacity, weight, role, version,
            dict(engine.describe()),
        )  # fmt: skip
        incarnation = secrets.token_hex(8)
        self.heartbeat = Heartbeat(
            links[1], keys, self.id, incarnation, registration, settings, clock, self._report
        )
        self.completed = 0

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Register and start the heartbeat."""
        self.heartbeat.start()
        log.info("worker %s: engine %s, %d slots", self.id, self._engine.name, self._engine.slots)

    def drain(self) -> None:
        """Take no new work; end what runs, give the rest back, then be `drained`."""
        if self._draining_since is None:
            self._draining_since = self._clock.monotonic()

    @property
    def drained(self) -> bool:
        """Whether nothing is left to do after `drain`, or no more time, as without a store."""
        idle = not (self._running or self._waiting or self._unsent or self._resting)
        return self._draining_since is not None and (idle or self._is_late())

    def _is_late(self) -> bool:
        return self._grace_left() < -self._settings.leave_s

    def _grace_left(self) -> float:
        since = self._draining_since
        return inf if since is None else since + self._settings.drain_s - self._clock.monotonic()

    def run_once(self) -> None:
        """One turn: news, begin, work, report."""
        if not self._broken:
            self.heartbeat.progressed()
        if self.heartbeat.reborn.is_set():
            self._read_again()
        self._send()
        self._set_aside()
        self._read()
        self._begin()
        self._collect(self._host.turn())
        self._unsent += self._resting.due(self._clock.monotonic())
        self._send()
        if self._draining_since is not None:
            self._give_back()
        self._broken = False

    def recover(self, error: Exception) -> None:
        """The store did not answer: the next turn sends again. Any other fault is no progress."""
        self._broken = not isinstance(error, ParallaxError)
        self._metrics.failed(error)
        self._link.close()

    def close(self) -> None:
        """Leave: give back what is left, sign off."""
        try:
            if self._is_late():
                raise Unreachable("nobody took back in time what it held")
            self.drain()
            self._hand_over(list(self._running.values()))
            self._running.clear()
            self._send()
            self._sign_off()
        except ParallaxError as error:
            log.warning("could not leave in good order: %s", error)
        finally:
            self.heartbeat.stop()
            self._link.close()

    def _sign_off(self) -> None:
        membership = Membership(self._link, self._keys)
        for _ in range(10):  # the leader may have sent something before it saw us drain
            self._read()
            self._give_back()
            self._send()
            if membership.bury(self.id) == "ok":
                return

    # -- news -----------------------------------------------------------------------------------

    def _room(self) -> int:
        """How many more assignments are worth holding: one batch ahead of the engine."""
        return self._settings.batch - len(self._waiting)

    def _block_ms(self) -> int:
        if self._waiting and len(self._running) < self._engine.slots:
            return 0
        now = self._clock.monotonic()
        ends = (self._host.next_due(), self._resting.next_due())
        waits = [due - now for due in ends if due is not None]
        return max(0, int(min([self._settings.block_s, *waits]) * 1000))

    def _read_again(self) -> None:
        """We were believed dead and our stream was deleted: the next one is read from its start.

        Its entries may have smaller ids than those we know, if the server's clock went back.
        """
        self.heartbeat.reborn.clear()
        self._attempts.restart()
        self._history.restarted()
        begun = {attempt.assignment.entry for attempt in self._begun()}
        self._seen = {a.entry for a in self._waiting} | begun

    def _begun(self) -> list[Attempt]:
        return [r.attempt for r in self._running.values()] + self._resting.attempts()

    def _read(self) -> None:
        block_ms = 0 if self._draining_since is not None else self._block_ms()
        assigned, orders = self._attempts.read(self._room(), block_ms)
        for entry in assigned:
            if entry.id in self._seen:
                continue
            try:
                assignment = decode_assignment(entry)
                self._waiting.append(assignment)
                self._history.read([assignment])
            except InvalidInput as error:
                self._junk.append((entry, str(error)))
                self._metrics.malformed(1)
        told = [order for order in map(decode_cancellation, orders) if order is not None]
        for order in told + self._second_look.orders(self._begun):
            self._cancel(order)
        self._set_aside()

    def _set_aside(self) -> None:
        """Move what cannot be understood out of the way; what was not, is at the next turn."""
        if self._junk:
            self._rescue.quarantine(self._keys.work(self.id), self._junk)
            self._junk.clear()

    def _cancel(self, order: Cancellation) -> None:
        running = self._running.get(order.job_id)
        if running and running.attempt.assignment.attempt == order.attempt:
            self._stop(running)
        self._unsent += self._resting.release(lambda f: f.attempt.job_id == order.job_id)

    def _stop(self, running: Running) -> None:
        """Take an attempt out of the engine; what it consumed is reported."""
        del self._running[running.attempt.job_id]
        running.stopped(self._engine.stop(running.attempt.job_id))
        self._unsent.append(self._finish(running, "stopped", self._clock.monotonic(), "stopped"))

    # -- work -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._draining_since is not None or not self.heartbeat.fresh:
            return
        count = min(self._engine.slots - len(self._running), len(self._waiting))
        if count <= 0:
            return
        batch = [self._waiting[i] for i in range(count)]
        running, expired, spoilt = self._attempts.begin(batch)
        self._history.began(running)
        for _ in batch:
            self._waiting.popleft()
        self._end_at_once(expired, "expired", "expired: the deadline passed before it began")
        self._end_at_once(spoilt, "dead", "the record of the job cannot be understood")
        for attempt in running:
            self._add(attempt, self._clock.monotonic())

    def _end_at_once(self, attempts: Sequence[Attempt], verdict: str, why: str) -> None:
        now = self._clock.monotonic()
        self._unsent += [self._finish(Running(a, now), verdict, now, why) for a in attempts]

    def _add(self, attempt: Attempt, now: float) -> None:
        crash_on(self._crash_on, attempt.job_id)
        started = Running(attempt, now)
        earlier = self._running.get(attempt.job_id)
        if earlier is not None:  # we were believed dead, and the job has come back to us
            self._stop(earlier)
        try:
            self._engine.add(self._request(attempt), now)
        except InvalidInput as error:  # it can never fit: no other attempt would do better here
            self._unsent.append(self._finish(started, "failed", now, str(error)))
        else:
            self._running[attempt.job_id] = started

    def _request(self, attempt: Attempt) -> Request:
        return Request(
            attempt.job_id,
            f"{attempt.tenant}/{attempt.session}" if attempt.session else "",
            attempt.prompt_tokens,
            attempt.max_tokens,
            1 if self._only_prompt(attempt) else attempt.output_tokens,
            attempt.prefix,
            attempt.prefix_block,
            attempt.assignment.prefilled is not None,
            self._slowdown.factor(attempt.job_id, attempt.assignment.attempt),
        )

    def _only_prompt(self, attempt: Attempt) -> bool:
        """Whether the answer is for another worker to give: one of more than its first token."""
        more = attempt.output_tokens is None or attempt.output_tokens > 1
        return self._role == PREFILL and attempt.assignment.prefilled is None and more

    def _collect(self, events: Sequence[Event]) -> None:
        told: list[tuple[Attempt, str, int]] = []
        began: list[Attempt] = []
        for event in events:
            running = self._running.get(event.id)
            if running is None or isinstance(event, Chunk):
                continue
            attempt, running.tokens = running.attempt, event.output_tokens
            running.joined, running.cached = event.joined_at, event.cached_tokens
            first = event.first_at if isinstance(event, Done) else event.at
            if first is not None:
                running.first, running.prompt = first, attempt.prompt_tokens
                if attempt.assignment.prefilled is None:
                    told.append((attempt, "first", event.output_tokens))
                    began += [] if isinstance(event, Done) else [attempt]
            if isinstance(event, Done):
                del self._running[event.id]
                self._end(running, event.at)
        self._attempts.progress(told, began)

    def _end(self, running: Running, at: float) -> None:
        attempt = running.attempt
        if self._failures.strike(attempt.job_id, attempt.assignment.attempt):
            self._resting.add(self._finish(running, "retry", at, "the engine failed"), at)
        else:
            self._unsent.append(self._finish(running, self._verdict(running), at))

    def _verdict(self, running: Running) -> str:
        """Say how an attempt ends whose engine is done with it."""
        attempt = running.attempt
        if not self._only_prompt(attempt):
            return "completed"
        first_s = attempt.waited_s + max(0.0, (running.first or running.added) - running.added)
        return f"prefilled {running.cached} {first_s:.6f}"

    def _finish(self, running: Running, verdict: str, at: float, error: str = "") -> Finish:
        attempt, prefilled = running.attempt, running.attempt.assignment.prefilled
        start = running.added if running.joined is None else running.joined
        prefill_s = None if running.first is None else max(0.0, running.first - start)
        reached = attempt.prompt_tokens if prefilled else running.prompt
        report = Report(
            attempt.tenant,
            self.id,
            int(attempt.assignment.attempt),
            attempt.assignment.estimate,
            reached,
            running.tokens,
            prefilled.cached_tokens if prefilled else running.cached,
            attempt.waited_s + max(0.0, start - running.added),
            prefill_s,
            max(0.0, at - start),
            error,
            first_s=prefilled.first_s if prefilled else None,
            reason=REASONS.get(verdict, ""),
        )
        return Finish(attempt, verdict, report)

    # -- reporting ------------------------------------------------------------------------------

    def _send(self) -> None:
        while self._unsent:
            batch = self._unsent[: self._settings.batch]
            self._history.asked(batch)
            answers = self._attempts.finish(batch)
            self._history.answered(batch, answers)
            for finish, (word, detail) in zip(batch, answers, strict=True):
                answer = detail if word == "ok" else word
                self.completed += answer == "completed"
                self._metrics.ended(answer, finish.report)
            del self._unsent[: len(batch)]

    def _give_back(self) -> None:
        """While draining: return what has not begun or failed; after the grace what still runs."""
        self._unsent += self._resting.release()
        if self._waiting:
            groups = self._attempts.begin(list(self._waiting))
            self._waiting.clear()
            now = self._clock.monotonic()
            self._hand_over([Running(attempt, now) for group in groups for attempt in group])
        if self._grace_left() < 0:
            self._hand_over(list(self._running.values()))
            self._running.clear()

    def _hand_over(self, attempts: Sequence[Running]) -> None:
        now = self._clock.monotonic()
        for running in attempts:
            running.stopped(self._engine.stop(running.attempt.job_id))
            self._unsent.append(self._finish(running, "back", now))

    def _report(self) -> Mapping[str, Argument]:
        """What the heartbeat publishes. Called from its thread: it only reads."""
        running, waiting, kv_used = len(self._running), len(self._waiting), self._engine.kv_used
        self._metrics.observe(running, waiting, len(self._resting), kv_used)
        return {
            "running": running,
            "waiting": waiting,
            "kv_used": f"{kv_used:.4f}",
            "draining": int(self._draining_since is not None),
            "completed": self.completed,
            "jobs": " ".join(list(self._running)[:20]),
        }
