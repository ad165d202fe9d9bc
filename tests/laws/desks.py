"""A desk among a store that answers late, not at all or twice, and an engine of random moods.

The driver carries out what a desk wants as a worker's process does: engine actions at once, those
for the store whenever it likes, and tells of it whenever it likes. It keeps the books, and fails
as soon as one of the laws is broken.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from parallax.broker.store.attempts import Assignment, Attempt, Cancellation, Finish
from parallax.broker.store.dispatch import Entry
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.consumers.desk import Desk
from parallax.consumers.engines.interface import Chunk, Condition, Done, Started
from parallax.core.settings import WorkerSettings
from parallax.engine.request import Consumed

SLOTS, BATCH = 3, 4
SETTINGS = WorkerSettings(batch=BATCH, drain_s=5.0, retry_base_s=4.0, retry_cap_s=10.0)
WORKER = "w-1"


@dataclass(slots=True)
class Books:
    """What the store and whoever waits have seen, by the entry of the attempt."""

    begun: dict[str, Attempt] = field(default_factory=dict)
    ends: dict[str, Finish] = field(default_factory=dict)  # as they were first asked for
    ended: Counter[str] = field(default_factory=Counter)  # answered ends
    chunks: Counter[str] = field(default_factory=Counter)  # answered chunks
    halted: set[str] = field(default_factory=set)  # nobody wants their chunks any more
    said: Counter[str] = field(default_factory=Counter)  # chunks that the engine has pushed


class Play:
    """A random history of one desk; the same seed is the same history."""

    def __init__(self, seed: int, kind: type[Desk] = Desk, role: str = "both") -> None:
        self.random = Random(seed)
        self.desk = kind(WORKER, SLOTS, SETTINGS, Random(seed), role=role)
        self.now = 100.0
        self.books = Books()
        self.news: deque[told.News] = deque([told.Fresh(True)])
        self.asked: list[do.Action] = []  # of the store, without an answer so far
        self.engine: dict[str, Attempt] = {}
        self.streams: set[str] = set()  # entries of which the engine pushes chunks
        self.first: set[str] = set()  # jobs in the engine that had their first token
        self.sent: dict[str, Assignment] = {}  # by entry
        self.attempts: Counter[str] = Counter()  # of each job
        self.actions: list[do.Action] = []
        self.faults = True
        self.ready = True  # the engine, as the desk has heard it

    # -- what happens -----------------------------------------------------------------------------

    def play(self, steps: int) -> None:
        """Let so many things happen."""
        moves = (
            (self.send, 4), (self.order, 1), (self.work, 10), (self.answer, 8), (self.hear, 10),
            (self.pass_time, 2), (self.rebirth, 0.3), (self.stale, 0.3), (self.junk, 0.3),
            (self.turn_over, 0.3),
        )  # fmt: skip
        weights = [weight for _, weight in moves]
        for _ in range(steps):
            self.random.choices([move for move, _ in moves], weights)[0]()

    def end(self) -> None:
        """Faults are over: the desk drains, and nothing may be left."""
        self.faults = False
        self.news += (told.Fresh(True), told.Drain(self.now))
        for _ in range(200):
            self.hear(everything=True)
            while self.asked:
                self.answer()
            self.hear(everything=True)
            if self.desk.drained(self.now) and not self.news:
                break
            self.now += 0.25
        assert not self.asked, "the desk asks for ever"
        assert self.desk.drained(self.now), "a drain ends"
        assert not self.desk.is_late(self.now), "in time"
        assert not self.engine, "what is in the engine when all is over"
        books = self.books
        assert set(books.ended) == set(books.begun), "each attempt that began has an end"
        assert set(books.ended.values()) <= {1}, "each has one end"
        for entry, attempt in books.begun.items():
            told_all = books.ends[entry].verdict in {"completed", "failed", "retry"}
            if attempt.stream and told_all and entry not in books.halted:
                assert books.chunks[entry] == books.said[entry], "all that was said is relayed"

    def send(self) -> None:
        """A leader sends some: new jobs, and other attempts at old ones."""
        room = self.desk.room
        sent = []
        for _ in range(min(room, self.random.randint(1, 3))):
            old = self.random.random() < 0.2 and self.attempts
            job = self.random.choice(sorted(self.attempts)) if old else f"j{len(self.attempts)}"
            self.attempts[job] += 1
            entry = f"{len(self.sent) + 1}-0"
            self.sent[entry] = Assignment(entry, job, str(self.attempts[job]), 1.0, 1)
            sent.append(self.sent[entry])
        self.news.append(told.Read(sent))

    def order(self) -> None:
        """Somebody cancels an attempt, whatever has become of it."""
        if self.sent:
            one = self.random.choice(list(self.sent.values()))
            self.news.append(told.Read(orders=[Cancellation(one.job_id, one.attempt)]))

    def junk(self) -> None:
        self.news.append(
            told.Read(junk=[(Entry(f"{self.random.randint(10**6, 10**7)}-0", []), "x")])
        )

    def rebirth(self) -> None:
        """The stream is made anew, with some of what was in it before."""
        if not self.faults:
            return
        self.news.append(told.Reborn())
        self.hear(everything=True)  # nobody reads the new stream before
        known = [a for a in self.sent.values() if a.entry not in self.books.ended]
        again = [a for a in known if self.desk.has_seen(a.entry)]
        if again:
            self.news.append(told.Read(again))

    def stale(self) -> None:
        self.news.append(told.Fresh(not self.faults or self.random.random() < 0.5))

    def turn_over(self) -> None:
        """The engine loses its server, or finds it again; or it has fewer slots."""
        ready, slots = self.random.random() < 0.6, self.random.randint(1, SLOTS)
        self.news.append(Condition(self.now, ready, slots))

    def pass_time(self) -> None:
        self.now += self.random.choice((0.01, 0.5, 6.0))

    def work(self) -> None:
        """The engine does something for one of its requests."""
        if not self.engine:
            return
        job = self.random.choice(sorted(self.engine))
        attempt, dice = self.engine[job], self.random.random()
        if job not in self.first:
            self.first.add(job)
            self.news.append(Started(job, self.now))
        elif (entry := attempt.assignment.entry) in self.streams and dice < 0.6:
            self.books.said[entry] += 1
            self.news.append(Chunk(job, self.now, b"word", 2))
        else:
            error = "it failed" if self.random.random() < 0.2 else ""
            again, untouched = self.random.random() < 0.5, self.random.random() < 0.2
            self._leave(job)
            done = Done(job, self.now, 3, answer=b"all", error=error, again=again)
            self.news.append(replace(done, untouched=untouched))

    def _leave(self, job: str) -> Attempt | None:
        self.first.discard(job)
        return self.engine.pop(job, None)

    # -- the desk ---------------------------------------------------------------------------------

    def hear(self, everything: bool = False) -> None:
        """Let the desk hear some of the news; carry out what it wants of the engine."""
        count = len(self.news) if everything else self.random.randint(0, len(self.news))
        batch = [self.news.popleft() for _ in range(count)]
        heard = [self.ready] + [one.ready for one in batch if isinstance(one, Condition)]
        self.ready = heard[-1]
        actions = self.desk.handle(batch, self.now)
        self.actions += actions
        for action in actions:
            match action:
                case do.Add():
                    assert any(heard), "nothing goes into an engine that is not ready"
                    self._add(action)
                case do.Drop():
                    job = action.attempt.job_id
                    found = self._leave(job)
                    self.news.append(told.Stopped(job, Consumed(1, 1) if found else None))
                case do.Restart() | do.Quarantine() | do.Tell():
                    pass
                case _:
                    assert type(action) not in map(type, self.asked), "one at a time"
                    self.asked.append(action)
                    self._check(action)

    def _add(self, action: do.Add) -> None:
        assert action.attempt.job_id not in self.engine, "one attempt of a job is in the engine"
        if self.faults and self.random.random() < 0.05:
            self.news.append(told.Refused(action.attempt.job_id, "it never fits"))
            return
        self.engine[action.attempt.job_id] = action.attempt
        if action.request.stream:
            self.streams.add(action.attempt.assignment.entry)
        assert len(self.engine) <= SLOTS, "never more in the engine than slots"

    def _check(self, action: do.Action) -> None:
        match action:
            case do.Relay():
                self._check_relay(action)
            case do.End():
                for finish in action.finishes:
                    self._check_end(finish)
            case do.Begin():
                for one in action.assignments:
                    assert one.entry not in self.books.begun, "what has begun begins once"

    def _check_relay(self, action: do.Relay) -> None:
        due = Counter(self.books.chunks)
        for chunk in action.chunks:
            entry = chunk.attempt.assignment.entry
            assert entry not in self.books.halted, "no chunk after a stop"
            assert chunk.sequence == due[entry], "chunks go in order, each once"
            due[entry] += 1

    def _check_end(self, finish: Finish) -> None:
        entry, books = finish.attempt.assignment.entry, self.books
        assert entry in books.begun, "only what has begun ends"
        assert books.ended[entry] == 0, "an answered end is not sent again"
        assert books.ends.setdefault(entry, finish) == finish, "an end does not change"
        owed = {c.attempt.assignment.entry for a in self.asked if isinstance(a, do.Relay)
                for c in a.chunks}  # fmt: skip
        assert entry not in owed, "an end comes after its chunks"

    # -- the store --------------------------------------------------------------------------------

    def answer(self) -> None:
        """The store answers something that it was asked, or does not."""
        if not self.asked:
            return
        action = self.asked.pop(self.random.randrange(len(self.asked)))
        lost = self.faults and self.random.random() < 0.2
        self.news.append(told.Undone([action]) if lost else self._carried_out(action))

    def _carried_out(self, action: do.Action) -> told.News:
        match action:
            case do.Begin():
                return self._begun(action)
            case do.Relay():
                return self._relayed(action)
            case do.End():
                self.books.ended.update(f.attempt.assignment.entry for f in action.finishes)
                return told.Ended()
            case do.Look():
                some = [a for a in action.attempts if self.random.random() < 0.1]
                return told.Looked(some)
        raise AssertionError(action)

    def _begun(self, action: do.Begin) -> told.Begun:
        groups: tuple[list[Attempt], ...] = ([], [], [], [])  # the last ones are not wanted
        for one in action.assignments:
            stream = int(one.entry.partition("-")[0]) % 2 == 0
            attempt = Attempt(one, "acme", "", 10, 20, 5, "in", 0.1, stream=stream)
            self.random.choices(groups, (8, 1, 0.5, 1))[0].append(attempt)
        for attempt in (*groups[0], *groups[1], *groups[2]):
            self.books.begun[attempt.assignment.entry] = attempt
        return told.Begun(*groups[:3])

    def _relayed(self, action: do.Relay) -> told.Relayed:
        stops = {c.attempt.assignment.entry: self.random.random() < 0.1 for c in action.chunks}
        for chunk in action.chunks:
            entry = chunk.attempt.assignment.entry
            if stops[entry]:
                self.books.halted.add(entry)
            self.books.chunks[entry] += 1
        words = ["stop" if stops[c.attempt.assignment.entry] else "ok" for c in action.chunks]
        return told.Relayed(words)
