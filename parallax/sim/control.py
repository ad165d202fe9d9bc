"""What happens to the fleet: faults, and autoscaling."""

from __future__ import annotations

from collections import deque
from math import inf

from parallax.core.errors import InvalidSettings
from parallax.core.model import LoadView
from parallax.core.settings import PolicyChoice
from parallax.policies.registry import SCALING
from parallax.scheduling.load import LoadMeter
from parallax.sim.spec import FaultSpec, RunSpec
from parallax.sim.world import World


class Faults:
    """Makes things go wrong at their times."""

    def __init__(self, world: World, faults: tuple[FaultSpec, ...]) -> None:
        self._world = world
        known = {f"w{n:04d}" for n in range(world.spec.fleet.workers)}
        for fault in faults:
            if fault.worker not in known:
                first, last = min(known), max(known)
                raise InvalidSettings("fault.worker", fault.worker, f"one of {first} to {last}")
            world.at(fault.at_s * 1000, getattr(self, f"_{fault.kind}"), fault)

    def _crash(self, fault: FaultSpec) -> None:
        world = self._world
        worker = world.workers.get(fault.worker)
        if worker is None:
            return
        worker.alive = False
        world.books.notes.append(f"{fault.at_s:g} s: {worker.id} crashes")
        world.at(world.now_ms + fault.detect_s * 1000, world.lose, worker)
        if fault.seconds != inf:
            back_ms = world.now_ms + max(fault.seconds, fault.detect_s) * 1000
            world.at(back_ms, self._return, fault)

    def _return(self, fault: FaultSpec) -> None:
        world = self._world
        world.join(world.factory.make(world.now_ms, fault.worker))
        world.books.note(world.now_ms, f"{fault.worker} is back")

    def _slow(self, fault: FaultSpec) -> None:
        self._pace(fault, fault.factor)
        if fault.seconds != inf:
            self._world.at(self._world.now_ms + fault.seconds * 1000, self._mended, fault)

    def _mended(self, fault: FaultSpec) -> None:
        self._pace(fault, 1.0)

    def _pace(self, fault: FaultSpec, factor: float) -> None:
        worker = self._world.workers.get(fault.worker)
        if worker is not None and worker.alive:
            self._world.catch_up(worker)
            worker.engine.slow_down(factor)
            told = f"{worker.id} takes {factor:g} times as long"
            self._world.books.note(self._world.now_ms, told)

    def _stale(self, fault: FaultSpec) -> None:
        worker = self._world.workers.get(fault.worker)
        if worker is not None:
            worker.stale_until_ms = self._world.now_ms + fault.seconds * 1000


class Autoscaling:
    """Asks the scaling policy at intervals, starts workers, and drains them."""

    def __init__(self, world: World, choice: PolicyChoice, spec: RunSpec) -> None:
        self._world, self._spec = world, spec
        self._policy = SCALING.build(choice.name, choice.parameters)
        self._meter = LoadMeter()
        self._starting: deque[float] = deque()
        self._busy_s = self._cost = 0.0
        world.offered = self._meter.offered
        world.at(spec.scale_every_s * 1000, self._tick)

    def _tick(self, _: None) -> None:
        world = self._world
        now_s = world.now_ms / 1000
        serving = [w for w in world.workers.values() if w.alive and not w.draining]
        wanted = self._policy.desired(self._load(len(serving), now_s), now_s)
        total = len(serving) + len(self._starting)
        if wanted > total:
            self._start(wanted - total)
        elif wanted < total:
            self._drain(min(total - wanted, len(serving) - 1))
        if wanted != total:
            counters = world.books.counters
            counters["scalings"] = counters.get("scalings", 0) + 1
            world.books.note(world.now_ms, f"{total} workers, {wanted} wanted")
        for worker in [w for w in world.workers.values() if w.draining and not w.attempts]:
            world.lose(worker)
        if world.arriving or world.open:
            if not (world.arriving or serving or self._starting):
                return  # nobody is left who could end what is open
            world.at(world.now_ms + self._spec.scale_every_s * 1000, self._tick)

    def _load(self, serving: int, now_s: float) -> LoadView:
        meter, world = self._meter, self._world
        busy_s, cost = world.books.busy_s(world.workers.values()), world.books.served_cost
        if busy_s > self._busy_s:
            meter.served(cost - self._cost, busy_s - self._busy_s)
            self._busy_s, self._cost = busy_s, cost
        return LoadView(
            meter.rate(now_s, 60.0),
            meter.rate(now_s, 6.0),
            self._world.scheduler.backlog_cost,
            serving + len(self._starting),
            serving,
            meter.per_worker,
        )

    def _start(self, count: int) -> None:
        for _ in range(count):
            ready_ms = self._world.now_ms + self._spec.fleet.startup_s * 1000
            self._starting.append(ready_ms)
            self._world.at(ready_ms, self._started)

    def _started(self, _: None) -> None:
        self._starting.popleft()
        self._world.join(self._world.factory.make(self._world.now_ms))

    def _drain(self, count: int) -> None:
        """Let go of those with the least work: placing stops at once, what runs may end."""
        serving = [w for w in self._world.workers.values() if w.alive and not w.draining]
        for worker in sorted(serving, key=lambda w: (len(w.attempts), w.id))[: max(0, count)]:
            worker.draining = True
            self._world.tell(worker)
