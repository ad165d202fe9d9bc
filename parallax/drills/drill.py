"""One drill: load and faults for a while, then peace, then the reckoning."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from parallax.broker.link.connection import Link
from parallax.core.clock import Clock
from parallax.core.digests import digest_of
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.drills.asking import Asking
from parallax.drills.contention import Contention, windows
from parallax.drills.disk import SmallDisk
from parallax.drills.evidence import (
    Evidence,
    counts_of,
    jobs_through_gateways,
    kept_of,
    left_of,
    lines_of,
    open_names,
    open_of,
    records_of,
    write_exchanges,
)
from parallax.drills.faults import FAULTS, Fault, Undo
from parallax.drills.invariants import violations
from parallax.drills.leftovers import left_over, unexplained
from parallax.drills.load import Load
from parallax.drills.shape import Shape
from parallax.drills.silence import longest_silence_s
from parallax.drills.stage import CELL, POISON, PREFETCH, Cast, Stage
from parallax.drills.watching import Memory, Watching
from parallax.drills.wishes import Wishes
from parallax.producers.client.client import Client
from parallax.services.orders import Orders

log = logging.getLogger(__name__)

READY_S = 60.0
#: How long each poisonous job that waits may go on killing workers, one after another (seconds).
POISON_S = 4.0
#: Share of the load that goes through gateways, and how much rarer than others their faults are.
THROUGH, RARER = 0.5, 15.0
#: With a store that may forget its last two seconds, only this promise may break, and only then.
FORGETFUL = {"I1"}


@dataclass(frozen=True, slots=True)
class DrillSpec:
    """The plan of a drill. The same seed draws the same faults and the same jobs.

    Under an odd seed no fault deletes anything by hand: where nothing was destroyed, a job that has
    to be repaired was lost by the system itself.
    """

    seed: int
    duration_s: float = 60.0
    rate: float = 150.0  # jobs per second
    pause_s: float = 0.4  # mean time between two faults
    kinds: Sequence[str] = ()  # of faults; none named: all
    cast: Cast = field(default_factory=Cast)
    shape: Shape = field(default_factory=Shape)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in FAULTS:
                raise InvalidInput("--fault", kind, f"known: {', '.join(FAULTS)}")
        if not self.faults and not self.faults_of_gateways:
            allowed = "for an odd seed: one that deletes nothing; of gateways: if there are any"
            raise InvalidInput("--fault", ", ".join(self.kinds), allowed)

    @property
    def destroys(self) -> bool:
        """Whether entries may be deleted by hand; else nothing may have to be repaired."""
        return self.seed % 2 == 0

    @property
    def faults(self) -> list[Fault]:
        """The kinds that are drawn from."""
        return [fault for fault in self._possible if fault.needs != "gateways"]

    @property
    def faults_of_gateways(self) -> list[Fault]:
        """The kinds that befall gateways: they are drawn apart, so that they change no others."""
        return [fault for fault in self._possible if fault.needs == "gateways"]

    @property
    def _possible(self) -> list[Fault]:
        return [
            fault
            for name, fault in FAULTS.items()
            if (not self.kinds or name in self.kinds)
            and (self.destroys or not fault.destroys)
            and self._has(fault.needs)
        ]

    @property
    def left_out(self) -> str:
        """The part of its shape that this machine cannot provide; '' if there is none."""
        if self.shape.disk and not SmallDisk.possible():
            return "disks are not filled: that takes root on Linux, with mount"
        return ""

    def _has(self, needs: str) -> bool:
        has = {
            "disk": self.shape.disk and SmallDisk.possible(), "crowd": self.shape.crowd > 0,
            "gateways": self.cast.gateways > 0,
        }  # fmt: skip
        return not needs or bool(has[needs])


@dataclass(frozen=True, slots=True)
class DrillResult:
    """The result of a drill."""

    spec: DrillSpec
    faults: Counter[str]
    accepted: int
    executions: int
    outcomes: Counter[str]
    counts: dict[str, int]
    drained_s: float  # from the last fault, or the last death by poison, until nothing was open
    broken: dict[str, list[str]]
    memory: dict[str, Memory] = field(default_factory=dict)
    junk: Counter[str] = field(default_factory=Counter)  # by key or family of keys
    bodies: int = 0  # bodies of open jobs that were looked at
    weights: int = 0  # changes of weights
    answers: int = 0  # that were told, and held against what their workers had sent
    pieces: int = 0  # the same of answers that came in pieces
    contended_s: float = 0.0  # while two tenants were backlogged, and their shares were held
    asked: Counter[str] = field(default_factory=Counter)  # requests to gateways, by how they ended
    server: Memory | None = None  # what Redis held

    @property
    def excused(self) -> bool:
        """Whether what broke may break: the store was killed, and may forget."""
        forgets = self.spec.cast.durability != "always" and self.faults["kill redis"] > 0
        return forgets and set(self.broken) <= FORGETFUL

    @property
    def passed(self) -> bool:
        """Whether every promise was kept that was given."""
        return not self.broken or self.excused


def run_drill(
    spec: DrillSpec, clock: Clock, say: Callable[[str], None], logs: Path | None = None,
    orders: Orders | None = None,
) -> DrillResult:  # fmt: skip
    """Run one drill on a stage of its own; raises Interrupted after an order to stop."""
    stage = Stage(spec.cast, clock, logs, orders, spec.shape)
    with stage:
        clients = [Client(stage.system.url, CELL) for _ in range(2)]
        drill = _Drill(spec, stage, clock, clients)
        try:
            drill.play(say)
            evidence = drill.reckon()
            if logs is not None and logs.is_dir():
                write_exchanges(logs / f"requests-{spec.seed}.jsonl", evidence)
        finally:
            for client in clients:
                client.close()
        pids = [*stage.processes().values(), stage.server_pid]
    survivors = sum(_runs(pid) for pid in pids)
    return drill.result(evidence, survivors)


class _Drill:
    def __init__(
        self, spec: DrillSpec, stage: Stage, clock: Clock, clients: Sequence[Client]
    ) -> None:
        self._spec, self._stage, self._clock = spec, stage, clock
        seed, shape = spec.seed, spec.shape
        self._courses = [
            _Course(spec.faults, Random(f"{seed}/faults"), spec.pause_s),
            _Course(spec.faults_of_gateways, Random(f"{seed}/gateways"), spec.pause_s * RARER),
        ]
        rate, through = shape.rate(spec.rate), THROUGH if spec.cast.gateways else 0.0
        self._asking = Asking(
            stage.gateways, clock, Random(f"{seed}/clients"), rate * through,
            Wishes(seed, Random(f"{seed}/wishes")),
        )  # fmt: skip
        rate *= 1 - through
        self._load = Load(clients[0], clock, Random(f"{seed}/load"), rate, seed, shape)
        rivals = Load(clients[1], clock, Random(f"{seed}/rivals"), rate, seed)
        self._contention = Contention(rivals, stage.keys, clock, Random(f"{seed}/contest"), seed)
        self._loads = [self._load, rivals]
        self._watching = Watching(
            stage.processes,
            stage.link,
            stage.keys,
            self._load,
            clock,
            Random(f"{seed}/watching"),
            lambda: stage.server_pid,
        )
        self._undoing: list[threading.Thread] = []
        self._faults: Counter[str] = Counter()
        self._destroyed = False
        self._peace = self._end = 0.0  # seconds since the epoch, as in the histories

    def play(self, say: Callable[[str], None]) -> None:
        """Load and faults, then peace until nothing is open."""
        shape = self._spec.shape
        self._until(self._stage.ready, READY_S + shape.workers / 5)
        over, seen = threading.Event(), threading.Event()
        threads = [_started(self._load.run, over)]
        if self._spec.cast.gateways:
            threads.append(_started(self._asking.run, over))
        if shape.contended:
            threads.append(_started(self._contention.run, self._stage.link(), over))
        watching = _started(self._watching.run, seen)
        self._disturb(say)
        over.set()
        for thread in [*self._undoing, *threads]:
            thread.join(shape.drain_s)
        self._peace = self._clock.now()
        poison_s = POISON_S * self._faults["submit poison"]
        self._until(self._harmless, shape.drain_s + poison_s)
        self._until(self._drained, shape.drain_s)
        self._end = self._clock.now()
        self._until(lambda: not self._left(), shape.drain_s / 4)  # the dead are still to be buried
        if not self._drained():
            self._stage.halt()  # readings of running work contradict each other
        seen.set()
        watching.join(shape.drain_s)
        for load in self._loads:
            before = -1
            while before != load.told.total():  # no more than a page is heard at once
                before = load.told.total()
                load.listen()

    def _disturb(self, say: Callable[[str], None]) -> None:
        started = told = self._clock.monotonic()
        while (now := self._clock.monotonic()) - started < self._spec.duration_s:
            self._stage.watch()
            for course in self._courses:
                fault = course.due(now)
                if fault is not None:
                    self._break(fault, course.random)
            if now - told >= 10.0:
                told = now
                say(f"seed {self._spec.seed}: {now - started:.0f} s, "
                    f"{self._faults.total()} faults, {len(self._load.accepted)} jobs")  # fmt: skip
            self._clock.wait(0.01)

    def _break(self, fault: Fault, random: Random) -> None:
        log.info("fault: %s", fault.name)
        lasting = fault.deed(self._stage, random)
        self._faults[fault.name] += 1
        self._destroyed = self._destroyed or fault.destroys
        if lasting is not None:  # in a thread: one that waits must not keep another from ending
            undoing = threading.Thread(target=self._undo, args=lasting, daemon=True)
            undoing.start()
            self._undoing = [one for one in self._undoing if one.is_alive()] + [undoing]

    def _undo(self, seconds: float, undo: Undo) -> None:
        self._clock.wait(seconds)
        undo()

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not condition() and self._clock.monotonic() < deadline:
            self._stage.watch()
            self._clock.wait(0.02)

    def _drained(self) -> bool:
        return self._asked(lambda link: open_of(link, self._stage.keys) == 0)

    def _harmless(self) -> bool:
        """Whether no job is open that kills workers: until then there is no peace."""
        keys = self._stage.keys
        return self._asked(
            lambda link: not any(name.startswith(POISON) for name in open_names(link, keys))
        )

    def _left(self) -> bool:
        return self._asked(lambda link: bool(left_over(link, self._stage.keys)), broken=True)

    def _asked(self, question: Callable[[Link], bool], *, broken: bool = False) -> bool:
        link = self._stage.link()
        try:
            return question(link)
        except ParallaxError:
            return broken
        finally:
            link.close()

    def reckon(self) -> Evidence:
        """Gather the evidence."""
        stage, keys, link = self._stage, self._stage.keys, self._stage.link()
        shape, load = stage.shape, self._load
        accepted, refused, unknown = (
            set[str]().union(*(getattr(load, name) for load in self._loads))
            for name in ("accepted", "refused", "unknown")
        )
        lines = lines_of(stage.histories)
        known = {name for load in self._loads for name in load.tenants}
        poison = {line["job"] for line in lines if "job" in line} - known
        exchanges = list(self._asking.exchanges)
        fronts = jobs_through_gateways(link, keys, {one.wish for one in exchanges})
        records = records_of(link, keys, accepted | refused | unknown | poison | set(fronts))
        # Jobs of gateways want a certain model, whose workers may all be away while others work.
        direct = {name: record for name, record in records.items() if name not in fronts}
        evidence = Evidence(
            accepted, refused, unknown, dict(self._loads[0].told + self._loads[1].told), records,
            lines, counts_of(link, keys), open_of(link, keys), left_over(link, keys),
            destroyed=self._destroyed, longest_silence_s=longest_silence_s(direct),
            floor_s=shape.floor_s, excused=stage.junk["open"],
            misplaced=[
                wrong for wrong in self._watching.misplaced
                if wrong.partition(" ")[0] not in stage.spoiled
            ],
            unexplained=unexplained(link, keys),
            windows=windows(
                self._contention.samples, lines, shape.workers * (shape.slots + PREFETCH)
            ),
            untold=self._faults["delete the events"] > 0, memory=self._watching.memory(),
            bodies={name: digest_of(load.bodies.of(name)) for name in load.bodies.lengths},
            answers=load.heard.answers, streams=frozenset(load.streams),
            kept=kept_of(link, keys, load.kept & accepted), pieces=load.heard.streams,
            exchanges=exchanges, fronts=fronts, troubles=list(stage.gateways.troubles),
            lag_s=self._asking.lag_s,
            bodies_left=left_of(link, keys.body, fronts),
            answers_left=left_of(link, keys.answer, fronts),
        )  # fmt: skip
        link.close()
        return evidence.without(stage.spoiled)

    def result(self, evidence: Evidence, survivors: int) -> DrillResult:
        """Hold the evidence against the promises."""
        ended = [record for record in evidence.records.values() if record is not None]
        began = [line for line in evidence.lines if line["what"] == "began"]
        deaths = [line["at"] for line in began if line["job"].startswith(POISON)]
        return DrillResult(
            self._spec, self._faults, len(evidence.accepted) + len(evidence.fronts), len(began),
            Counter(record.outcome.value for record in ended if record.outcome), evidence.counts,
            max(0.0, self._end - max([self._peace, *deaths])),
            violations(replace(evidence, survivors=survivors)),
            dict(evidence.memory), self._stage.junk, self._load.bodies.looked, self._load.weights,
            len(evidence.answers), sum(len(one.pieces) for one in evidence.pieces.values()),
            sum(window.seconds for window in evidence.windows),
            Counter(one.end.value for one in evidence.exchanges), self._watching.server(),
        )  # fmt: skip


@dataclass(slots=True)
class _Course:
    """Faults that are drawn one after another, with random pauses."""

    faults: Sequence[Fault]
    random: Random
    pause_s: float
    _due: float | None = None

    def due(self, now: float) -> Fault | None:
        """Return the next fault if its time has come."""
        if not self.faults or self._due is None:
            self._due = now + self.pause_s
        if not self.faults or now < self._due:
            return None
        self._due = now + self.random.expovariate(1 / self.pause_s)
        return self.random.choices(self.faults, [fault.weight for fault in self.faults])[0]


def _started(run: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
