"""One drill: load and faults for a while, then peace, then the reckoning."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from parallax.broker.connection import Link
from parallax.broker.results import Record, Results
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.drills.evidence import Evidence, left_over, lines_of, records_of
from parallax.drills.faults import FAULTS, Fault, Undo
from parallax.drills.invariants import violations
from parallax.drills.load import TENANTS, Load
from parallax.drills.stage import CELL, POISON, Cast, Stage
from parallax.producers.client import Client
from parallax.services.orders import Orders

log = logging.getLogger(__name__)

READY_S, DRAIN_S = 30.0, 60.0
#: With a store that may forget its last two seconds, only this promise may break, and only then.
FORGETFUL = {"I1"}


@dataclass(frozen=True, slots=True)
class DrillSpec:
    """What a drill does. The same seed draws the same faults and the same jobs.

    Under an odd seed no fault deletes anything by hand: where nothing was destroyed, a job that has
    to be repaired was lost by the system itself.
    """

    seed: int
    duration_s: float = 60.0
    rate: float = 150.0  # jobs per second
    pause_s: float = 0.4  # mean time between two faults
    kinds: Sequence[str] = ()  # of faults; none named: all
    cast: Cast = field(default_factory=Cast)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in FAULTS:
                raise InvalidInput("--fault", kind, f"known: {', '.join(FAULTS)}")
        if not self.faults:
            raise InvalidInput(
                "--fault", ", ".join(self.kinds), "for an odd seed: one that deletes nothing"
            )

    @property
    def destroys(self) -> bool:
        """Whether entries may be deleted by hand; else nothing may have to be repaired."""
        return self.seed % 2 == 0

    @property
    def faults(self) -> list[Fault]:
        """The kinds that are drawn from."""
        return [
            fault
            for name, fault in FAULTS.items()
            if (not self.kinds or name in self.kinds) and (self.destroys or not fault.destroys)
        ]


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What came of a drill."""

    spec: DrillSpec
    faults: Counter[str]
    accepted: int
    executions: int
    outcomes: Counter[str]
    counts: dict[str, int]
    drained_s: float  # from the last fault, or the last death by poison, until nothing was open
    broken: dict[str, list[str]]

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
    stage = Stage(spec.cast, clock, logs, orders)
    with stage:
        client = Client(stage.system.url, CELL)
        drill = _Drill(spec, stage, clock, client)
        try:
            drill.play(say)
            evidence = drill.reckon()
        finally:
            client.close()
        pids = [child.process.pid for child in stage.system.fleet.children.values()]
        pids.append(stage.server_pid)
    survivors = sum(_runs(pid) for pid in pids)
    return drill.result(evidence, survivors)


class _Drill:
    def __init__(self, spec: DrillSpec, stage: Stage, clock: Clock, client: Client) -> None:
        self._spec, self._stage, self._clock = spec, stage, clock
        self._random = Random(f"{spec.seed}/faults")
        self._load = Load(client, clock, Random(f"{spec.seed}/load"), spec.rate, spec.seed)
        self._undoing: list[threading.Thread] = []
        self._faults: Counter[str] = Counter()
        self._destroyed = False
        self._peace = self._end = 0.0  # seconds since the epoch, as in the histories

    def play(self, say: Callable[[str], None]) -> None:
        """Load and faults, then peace until nothing is open."""
        self._until(lambda: self._stage.members() >= len(self._stage.workers), READY_S)
        over = threading.Event()
        loading = threading.Thread(target=self._load.run, args=(over,), name="load", daemon=True)
        loading.start()
        self._disturb(say)
        over.set()
        for undoing in self._undoing:
            undoing.join(DRAIN_S)
        loading.join(DRAIN_S)
        self._peace = self._clock.now()
        self._until(self._drained, DRAIN_S)
        self._end = self._clock.now()
        self._until(lambda: not self._left(), DRAIN_S / 4)  # dead workers are still to be buried
        self._load.listen()

    def _disturb(self, say: Callable[[str], None]) -> None:
        started = self._clock.monotonic()
        due, told = started + self._spec.pause_s, started
        while (now := self._clock.monotonic()) - started < self._spec.duration_s:
            self._stage.system.watch()
            if now >= due:
                due = now + self._random.expovariate(1 / self._spec.pause_s)
                self._break()
            if now - told >= 10.0:
                told = now
                say(f"seed {self._spec.seed}: {now - started:.0f} s, "
                    f"{self._faults.total()} faults, {len(self._load.accepted)} jobs")  # fmt: skip
            self._clock.wait(0.01)

    def _break(self) -> None:
        kinds = self._spec.faults
        (fault,) = self._random.choices(kinds, [fault.weight for fault in kinds])
        log.info("fault: %s", fault.name)
        lasting = fault.deed(self._stage, self._random)
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
            self._stage.system.watch()
            self._clock.wait(0.02)

    def _drained(self) -> bool:
        return self._asked(lambda link: link.call("ZCARD", self._stage.keys.open) == 0)

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
        """Gather what is known."""
        load, keys, link = self._load, self._stage.keys, self._stage.link()
        lines = lines_of(self._stage.histories)
        poison = {line["job"] for line in lines if "job" in line} - load.tenants.keys()
        records = records_of(link, keys, load.accepted | load.refused | load.unknown | poison)
        evidence = Evidence(
            load.accepted, load.refused, load.unknown, dict(load.told), records, lines,
            Results(link, keys).counts(), int(link.call("ZCARD", keys.open)), left_over(link, keys),
            destroyed=self._destroyed, longest_silence_s=longest_silence_s(records),
        )  # fmt: skip
        link.close()
        return evidence

    def result(self, evidence: Evidence, survivors: int) -> DrillResult:
        """Hold the evidence against the promises."""
        ended = [record for record in evidence.records.values() if record is not None]
        began = [line for line in evidence.lines if line["what"] == "began"]
        deaths = [line["at"] for line in began if line["job"].startswith(POISON)]
        return DrillResult(
            self._spec, self._faults, len(evidence.accepted), len(began),
            Counter(record.outcome.value for record in ended if record.outcome), evidence.counts,
            max(0.0, self._end - max([self._peace, *deaths])),
            violations(_with_survivors(evidence, survivors)),
        )  # fmt: skip


def _with_survivors(evidence: Evidence, survivors: int) -> Evidence:
    return replace(evidence, survivors=survivors)


def longest_silence_s(records: dict[str, Record | None]) -> float:
    """Return how long a tenant with open jobs heard of no end, at most. O(n log n)."""
    longest = 0.0
    for tenant in TENANTS:
        jobs = [r for r in records.values() if r and r.tenant == tenant and r.finished]
        moments = sorted(
            [(record.accepted, 1) for record in jobs]
            + [(record.finished, -1) for record in jobs if record.finished]
        )
        waiting, since = 0, 0.0
        for at, step in moments:
            if waiting and step < 0:
                longest = max(longest, at - since)
            if step < 0 or not waiting:
                since = at
            waiting += step
    return longest


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
