"""The worker without I/O: news in, actions out. See `handle`.

    read -> [waiting] -> Begin -> Add -> [running] -> Started, Chunk, Done -> [unsent] -> End
                                            |                                    ^
                                            +- order, drain: Drop -> [leaving] --+- [resting]

An attempt that was read but not begun may be stolen or cancelled at any time: `Begin` decides.
A begun attempt leaves through `_unsent`, exactly once, and its end is sent again until the
store has answered; answers are the same however often it is sent. What failed rests before it is
reported. The end of an attempt waits until all its chunks have been answered.

A worker of role `prefill` computes prompts and leaves the answers to others: its attempts end as
`prefilled`, and their KV cache waits here until the scheduler has found somebody for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Any

from parallax.broker.store.attempts import Assignment, Attempt, Cancellation, Finish
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.relay import Chunk
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.consumers.engines import interface as engine
from parallax.consumers.outgoing import Outgoing
from parallax.consumers.retries import Resting
from parallax.consumers.running import Running, request_of
from parallax.core.roles import BOTH, PREFILL, checked_role
from parallax.core.settings import WorkerSettings
from parallax.core.words import Verdict

#: How often it is looked whether what runs is still wanted (seconds). An order to stop is a hint
#: that can be lost: its stream is capped, has a time to live, and can be deleted.
LOOK_S = 5.0


class Desk:
    """The attempts that one worker holds, and the next actions for them."""

    def __init__(
        self,
        worker: str,
        slots: int,
        settings: WorkerSettings,
        random: Random,
        *,
        role: str = BOTH,
        ready: bool = True,
        reads_bodies: bool = False,
        most_bytes: int = 1 << 20,
    ) -> None:
        self._worker, self._settings, self._role = worker, settings, checked_role(role)
        self._reads_bodies, self._most_bytes = reads_bodies, most_bytes
        self.condition = engine.Condition(0.0, ready, slots)
        self.waiting: deque[Assignment] = deque()
        self.running: dict[str, Running] = {}
        self.resting = Resting(settings.retry_base_s, settings.retry_cap_s, random)
        self._leaving: dict[str, deque[tuple[Running, str]]] = {}  # with the verdict it leaves by
        self._unsent: deque[Finish] = deque()
        self._outgoing = Outgoing()
        self._junk: list[tuple[Entry, str]] = []
        self._told: list[tuple[Attempt, str, int]] = []
        self._began: list[Attempt] = []
        # Requests to the store that it has not answered yet.
        self._beginning: Sequence[Assignment] = ()
        self._ending: Sequence[Finish] = ()
        self._looking = False
        self._seen: set[str] = set()  # entries that are read a second time
        self._draining_since: float | None = None
        self._left = self._fresh = False
        self._now, self._looked = 0.0, inf  # nobody has looked yet
        self._actions: list[do.Action] = []
        self._hear: dict[type, Callable[[Any], None]] = {
            told.Read: self._on_read, told.Begun: self._on_begun, told.Refused: self._on_refused,
            told.Stopped: self._on_stopped, told.Relayed: self._on_relayed,
            told.Ended: self._on_ended, told.Looked: self._on_looked, told.Undone: self._on_undone,
            told.Fresh: self._on_fresh, told.Reborn: self._on_reborn, told.Drain: self._on_drain,
            told.Leave: self._on_leave, engine.Started: self._on_started,
            engine.Chunk: self._on_chunk, engine.Done: self._on_done,
            engine.Condition: self._on_condition,
        }  # fmt: skip

    # -- what its driver sees ---------------------------------------------------------------------

    def handle(self, news: Sequence[told.News], now: float) -> list[do.Action]:
        """Take events in their order and return actions in theirs.

        `now` is in monotonic seconds. Same random numbers and same news: same actions.
        """
        self._now, self._actions, self._looked = now, [], min(self._looked, now)
        for item in news:
            self._hear[type(item)](item)
        self._unsent += self.resting.due(now)
        if self._draining_since is not None:
            self._give_back()
        self._ask()
        return self._actions

    @property
    def room(self) -> int:
        """How many more assignments are worth holding: one batch ahead of the engine."""
        return self._settings.batch - len(self.waiting)

    def has_seen(self, entry: str) -> bool:
        """Return whether an entry is known from before its stream was deleted."""
        return entry in self._seen

    @property
    def draining(self) -> bool:
        """Whether it takes no new work."""
        return self._draining_since is not None

    def drained(self, now: float) -> bool:
        """Return whether nothing is left to do after `Drain`, or no more time for it."""
        idle = not (
            self.running or self.waiting or self._beginning or self._leaving or self._unsent
            or self._ending or self.resting
        )  # fmt: skip
        return self.draining and (idle or self.is_late(now))

    def is_late(self, now: float) -> bool:
        """Return whether the time is over in which what ran could be handed over."""
        return self._grace_left(now) < -self._settings.leave_s

    def next_due(self) -> float | None:
        """Return when to call `handle` although there is no news; None if nothing is due."""
        dues = [self.resting.next_due()]
        if (self.running or self.resting) and not self._looking:
            dues.append(self._looked + LOOK_S)
        if self._draining_since is not None and self.running:
            dues.append(self._draining_since + self._settings.drain_s)
        return min((due for due in dues if due is not None), default=None)

    # -- news: streams ----------------------------------------------------------------------------

    def _on_read(self, news: told.Read) -> None:
        self.waiting += [a for a in news.assignments if a.entry not in self._seen]
        self._junk += [junk for junk in news.junk if junk[0].id not in self._seen]
        for order in news.orders:
            self._cancel(order)

    def _cancel(self, order: Cancellation) -> None:
        running = self.running.get(order.job_id)
        if running and running.attempt.assignment.attempt == order.attempt:
            self._drop(running, Verdict.STOPPED)
        self._unsent += self.resting.release(lambda f: f.attempt.job_id == order.job_id)

    def _on_looked(self, news: told.Looked) -> None:
        self._looking = False
        for attempt in news.ended:
            self._cancel(Cancellation(attempt.job_id, attempt.assignment.attempt))

    def _on_reborn(self, _: told.Reborn) -> None:
        """Our streams are read from their start.

        New entries may have smaller ids than those we know, if the server's clock went back.
        """
        self._actions.append(do.Restart())
        held = [*self.waiting, *self._beginning, *(a.assignment for a in self._held())]
        self._seen = {assignment.entry for assignment in held}

    def _held(self) -> list[Attempt]:
        """Return all that has begun here and of whose end the store does not know."""
        ends = [*self._unsent, *self._ending]
        leaving = [running.attempt for queue in self._leaving.values() for running, _ in queue]
        return [*self._wanted(), *leaving, *(finish.attempt for finish in ends)]

    def _wanted(self) -> list[Attempt]:
        return [running.attempt for running in self.running.values()] + self.resting.attempts()

    # -- news: process ----------------------------------------------------------------------------

    def _on_fresh(self, news: told.Fresh) -> None:
        self._fresh = news.fresh

    def _on_drain(self, news: told.Drain) -> None:
        if self._draining_since is None:
            self._draining_since = news.since

    def _on_leave(self, _: told.Leave) -> None:
        self._on_drain(told.Drain(self._now))
        self._left = True

    def _grace_left(self, now: float) -> float:
        since = self._draining_since
        return inf if since is None else since + self._settings.drain_s - now

    def _give_back(self) -> None:
        """Return what failed, and after the grace what still runs. What waits is begun for it."""
        self._unsent += self.resting.release()
        if self._left or self._grace_left(self._now) < 0:
            for running in list(self.running.values()):
                self._drop(running, Verdict.BACK)

    # -- news: the store --------------------------------------------------------------------------

    def _on_begun(self, news: told.Begun) -> None:
        self._beginning = ()
        if self.draining:
            for attempt in (*news.running, *news.expired, *news.spoilt):
                self._end_at_once(attempt, Verdict.BACK, "")
            return
        for attempt in news.expired:
            why = "expired: the deadline passed before it began"
            self._end_at_once(attempt, Verdict.EXPIRED, why)
        for attempt in news.spoilt:
            self._end_at_once(attempt, Verdict.DEAD, "the record of the job cannot be understood")
        for attempt in news.running:
            if self.condition.ready and len(self.running) < self.condition.slots:
                self._add(attempt)
            else:  # the engine has changed since this was asked for
                self._rest(Running(attempt, self._now), Verdict.BACK, self._now)

    def _on_relayed(self, news: told.Relayed) -> None:
        for attempt in self._outgoing.answered(news.words):
            self._halt(attempt)

    def _halt(self, attempt: Attempt) -> None:
        """Nobody wants this attempt's answer."""
        running = self.running.get(attempt.job_id)
        if running and running.attempt.assignment.entry == attempt.assignment.entry:
            self._drop(running, Verdict.STOPPED)

    def _on_ended(self, _: told.Ended) -> None:
        self._ending = ()

    def _on_undone(self, news: told.Undone) -> None:
        for action in news.actions:
            match action:
                case do.Begin():
                    self._beginning = ()
                    self.waiting.extendleft(reversed(action.assignments))
                case do.Relay():
                    self._outgoing.undone()
                case do.End():
                    self._ending = ()
                    self._unsent.extendleft(reversed(action.finishes))
                case do.Quarantine():
                    self._junk[:0] = action.junk
                case do.Look():
                    self._looking = False

    # -- news: the engine -------------------------------------------------------------------------

    def _of(self, job_id: str) -> Running | None:
        """Return what an event of this job is about; None if it is of an attempt that leaves."""
        return None if job_id in self._leaving else self.running.get(job_id)

    def _on_condition(self, event: engine.Condition) -> None:
        self.condition = event

    def _on_started(self, event: engine.Started) -> None:
        running = self._of(event.id)
        if running is not None:
            running.heard(event, event.at)
            self._tell_first(running)
            if running.attempt.assignment.prefilled is None and not running.attempt.stream:
                self._began.append(running.attempt)

    def _tell_first(self, running: Running) -> None:
        """Tell viewers of the first token; of a stream it is the first chunk."""
        attempt = running.attempt
        if attempt.assignment.prefilled is None and attempt.reply == attempt.job_id:
            self._told += [] if attempt.stream else [(attempt, "first", running.tokens)]

    def _on_chunk(self, event: engine.Chunk) -> None:
        running = self._of(event.id)
        if running is None:
            return
        attempt, running.tokens = running.attempt, max(running.tokens, event.output_tokens)
        if attempt.stream and not self._only_prompt(attempt):
            self._outgoing.add(Chunk(attempt, running.chunks, event.data))
            running.chunks += 1

    def _on_done(self, event: engine.Done) -> None:
        running = self._of(event.id)
        if running is None:
            return
        running.heard(event, event.first_at)
        if event.first_at is not None:
            self._tell_first(running)
        del self.running[event.id]
        if not event.error:
            self._unsent.append(self._completed(running, event))
        elif event.again and not running.chunks:
            verdict = Verdict.BACK if event.untouched else Verdict.RETRY
            self._rest(running, verdict, event.at, event.error)
        else:  # a client that has seen a part of its answer learns at once that no more comes
            verdict = Verdict.RETRY if event.again else Verdict.FAILED
            self._unsent.append(running.finish(self._worker, verdict, event.at, event.error))

    def _completed(self, running: Running, event: engine.Done) -> Finish:
        attempt = running.attempt
        if self._only_prompt(attempt):
            first_s = attempt.waited_s + max(0.0, (running.first or running.added) - running.added)
            verdict = f"{Verdict.PREFILLED} {running.cached} {first_s:.6f}"
            return running.finish(self._worker, verdict, event.at)
        answer = b"" if attempt.stream and not attempt.keep else event.answer
        if len(answer) > self._most_bytes:
            error = f"the answer has {len(answer)} bytes; at most {self._most_bytes} are allowed"
            return running.finish(self._worker, Verdict.FAILED, event.at, error)
        return running.finish(self._worker, Verdict.COMPLETED, event.at, answer=answer)

    def _on_refused(self, news: told.Refused) -> None:
        running = self._of(news.job_id)
        if running is not None:  # no other attempt would do better here
            del self.running[news.job_id]
            self._unsent.append(running.finish(self._worker, Verdict.FAILED, self._now, news.why))

    def _on_stopped(self, news: told.Stopped) -> None:
        queue = self._leaving[news.job_id]
        running, verdict = queue.popleft()
        if not queue:
            del self._leaving[news.job_id]
        running.stopped(news.consumed)
        error = "stopped" if verdict == Verdict.STOPPED else ""
        self._unsent.append(running.finish(self._worker, verdict, self._now, error))

    # -- steps of an attempt ----------------------------------------------------------------------

    def _add(self, attempt: Attempt) -> None:
        earlier = self.running.get(attempt.job_id)
        if earlier is not None:  # we were believed dead, and the job has come back to us
            self._drop(earlier, Verdict.STOPPED)
        if self._reads_bodies and attempt.body_bytes and not attempt.body:
            self._end_at_once(attempt, Verdict.FAILED, "its body is gone")
            return
        self.running[attempt.job_id] = Running(attempt, self._now)
        self._actions.append(do.Add(attempt, request_of(attempt, self._only_prompt(attempt))))

    def _drop(self, running: Running, verdict: str) -> None:
        """Take an attempt out of the engine; its end is known when the engine has let go of it."""
        job_id = running.attempt.job_id
        del self.running[job_id]
        self._leaving.setdefault(job_id, deque()).append((running, verdict))
        self._actions.append(do.Drop(running.attempt))

    def _rest(self, running: Running, verdict: str, at: float, why: str = "") -> None:
        self.resting.add(running.finish(self._worker, verdict, at, why), at)

    def _end_at_once(self, attempt: Attempt, verdict: str, why: str) -> None:
        end = Running(attempt, self._now).finish(self._worker, verdict, self._now, why)
        self._unsent.append(end)

    def _only_prompt(self, attempt: Attempt) -> bool:
        """Whether the answer is for another worker to give: one of more than its first token."""
        more = attempt.output_tokens is None or attempt.output_tokens > 1
        return self._role == PREFILL and attempt.assignment.prefilled is None and more

    # -- asking the store -------------------------------------------------------------------------

    def _ask(self) -> None:
        """Send the requests that are due now: answered requests make room for the next ones."""
        if self._junk:
            self._actions.append(do.Quarantine(self._junk))
            self._junk = []
        if self._told or self._began:
            self._actions.append(do.Tell(self._told, self._began))
            self._told, self._began = [], []
        if (chunks := self._outgoing.next()) is not None:
            self._actions.append(do.Relay(chunks))
        if self._unsent and not self._ending:
            self._end()
        if self.waiting and not self._beginning:
            self._begin()
        wanted = self.running or self.resting
        if wanted and not self._looking and self._now - self._looked >= LOOK_S:
            self._looking, self._looked = True, self._now
            self._actions.append(do.Look(self._wanted()))

    def _end(self) -> None:
        batch: list[Finish] = []
        later: list[Finish] = []
        while self._unsent and len(batch) < self._settings.batch:
            finish = self._unsent.popleft()
            (later if self._outgoing.owes(finish.attempt) else batch).append(finish)
        self._unsent.extendleft(reversed(later))
        if batch:
            self._ending = tuple(batch)
            self._actions.append(do.End(self._ending))

    def _begin(self) -> None:
        """Begin what there is room for; all of it while that is not for us, to give it back."""
        count = len(self.waiting)
        if not self.draining and not self._fresh:
            count = 0
        elif not self.draining and self.condition.ready:
            count = min(count, self.condition.slots - len(self.running))
        if count > 0:
            self._beginning = tuple(self.waiting.popleft() for _ in range(count))
            self._actions.append(do.Begin(self._beginning, self._reads_bodies))
