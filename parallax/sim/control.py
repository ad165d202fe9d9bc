"""Changes the simulated fleet: faults, and autoscaling."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from parallax.core.errors import InvalidSettings
from parallax.core.settings import PolicyChoice
from parallax.scheduling.autoscaler import Direction, Scaling, Start, build_autoscaler
from parallax.scheduling.load import Load
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
    """Asks the autoscaler at intervals, starts workers, and drains them, as it decides."""

    def __init__(self, world: World, choice: PolicyChoice, spec: RunSpec) -> None:
        self._world, self._spec = world, spec
        self._autoscaler = build_autoscaler(choice)
        self._starting = 0
        self._busy_s = self._worker_s = self._looked_s = 0.0
        world.at(spec.scale_every_s * 1000, self._tick)

    def _tick(self, _: None) -> None:
        world = self._world
        now_s = world.now_ms / 1000
        self._account(now_s)
        for action in self._autoscaler.handle(self._load(now_s), now_s):
            self._carry_out(action)
        decision = self._autoscaler.decision
        if decision is not None and decision.direction is not Direction.NONE:
            counters = world.books.counters
            counters["scalings"] = counters.get("scalings", 0) + 1
            total = decision.serving + decision.starting
            world.books.note(world.now_ms, f"{total} workers, {decision.wanted} wanted")
        for worker in [w for w in world.workers.values() if w.draining and not w.attempts]:
            world.lose(worker)
        if world.arriving or world.open:
            serving = any(w.alive and not w.draining for w in world.workers.values())
            if not (world.arriving or serving or self._starting):
                return  # no worker is left that could end the open jobs
            world.at(world.now_ms + self._spec.scale_every_s * 1000, self._tick)

    def _account(self, now_s: float) -> None:
        """Add up how long workers were there: what they cost."""
        there = len(self._world.workers) + self._starting
        worker_s = there * (now_s - self._looked_s)
        self._looked_s, self._worker_s = now_s, worker_s
        counters = self._world.books.counters
        counters["worker_s"] = counters.get("worker_s", 0) + worker_s

    def _load(self, now_s: float) -> Load:
        world = self._world
        load = world.scheduler.load(now_s)
        views = [(view, world.workers.get(view.id)) for view in load.workers]
        there = tuple(
            replace(view, draining=worker.draining)
            for view, worker in views
            if worker is not None and worker.alive
        )
        return replace(load, workers=there, starting=self._starting, busy=self._busy())

    def _busy(self) -> float:
        """Return the share of the time since the last look that workers worked."""
        busy_s = self._world.books.busy_s(self._world.workers.values())
        worked_s, self._busy_s = busy_s - self._busy_s, busy_s
        return min(1.0, worked_s / self._worker_s) if self._worker_s else 0.0

    def _carry_out(self, action: Scaling) -> None:
        world = self._world
        if isinstance(action, Start):
            for _ in range(action.count):
                self._starting += 1
                world.at(world.now_ms + self._spec.fleet.startup_s * 1000, self._started)
            return
        worker = world.workers[action.worker]
        worker.draining = True
        world.tell(worker)

    def _started(self, _: None) -> None:
        self._starting -= 1
        self._world.join(self._world.factory.make(self._world.now_ms))
