"""The live workers: what they reported, what is in flight there, and what policies may see of it.

A worker's view is made afresh only when something happened to that worker, so a decision costs
O(workers) of looking and not of building.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parallax.core.ewma import Ewma
from parallax.core.model import JobView, Usage, WorkerView
from parallax.core.roles import PREFILL
from parallax.policies.interfaces import DispatchGate
from parallax.scheduling.events import WorkerReported
from parallax.scheduling.pace import Pace
from parallax.scheduling.residents import Residents

_MUCH = 1_000_000_000

#: After the store refused a dispatch, its worker is left alone for so long (seconds).
HOLD_S = 0.05


@dataclass(slots=True)
class Flight:
    """An attempt that was dispatched and has not ended.

    `uncached` and `output` are tokens as they were expected at dispatch: of the prompt, those not
    thought to be in the worker's cache; of the answer, the predicted ones. `weight` is what the
    tenant had when it was charged; `spent` is what others have computed for it, in cost units: it
    is paid whatever becomes of this attempt.
    """

    job: JobView
    entry: str
    worker: str
    attempt: int
    estimate: float
    uncached: float = 0.0
    output: float = 0.0
    since: float = 0.0
    began: bool = False
    arm: str = ""
    resident: float = 0.0  # tokens that are counted for it in `Residents`; 0 = it is not counted
    predicted_s: float = 0.0  # how long it was to take; 0 = unknown, or noted already
    hedged: bool = False  # there has been a second attempt beside this one, or this is it
    weight: float = 1.0
    spent: float = 0.0


@dataclass(slots=True)
class WorkerState:
    """One worker. What a flight added when it was taken is what its release subtracts."""

    id: str
    slots: int = 1
    weight: float = 1.0
    kv_used: float = 0.0
    kv_capacity: int = 0
    role: str = "both"
    version: str = ""
    draining: bool = False
    reported_at: float = 0.0
    pending_cost: float = 0.0
    prefill_tokens: float = 0.0
    decoding: int = 0
    kv_tokens: float = 0.0
    flights: dict[str, Flight] = field(default_factory=dict)
    ratios: Ewma = field(default_factory=Ewma)  # measured over expected seconds of service

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight here."""
        return len(self.flights)

    def take(self, flight: Flight) -> None:
        """Count a dispatch."""
        self.flights[flight.job.id] = flight
        self.pending_cost += flight.estimate
        self.kv_tokens += flight.uncached + flight.output
        if flight.began:
            self.decoding += 1
        else:
            self.prefill_tokens += flight.uncached

    def began(self, flight: Flight) -> None:
        """Its prompt is computed: from now on it decodes."""
        flight.began = True
        self.prefill_tokens -= flight.uncached
        self.decoding += 1

    def release(self, flight: Flight) -> None:
        """Count the end of an attempt."""
        if self.flights.get(flight.job.id) is not flight:
            return
        del self.flights[flight.job.id]
        if not self.flights:  # rounding must not accumulate over a worker's life
            self.pending_cost = self.prefill_tokens = self.kv_tokens = 0.0
            self.decoding = 0
            return
        self.pending_cost -= flight.estimate
        self.kv_tokens -= flight.uncached + flight.output
        if flight.began:
            self.decoding -= 1
        else:
            self.prefill_tokens -= flight.uncached


class Fleet:
    """See the module's docstring."""

    def __init__(self, gate: DispatchGate) -> None:
        self._gate = gate
        self.workers: dict[str, WorkerState] = {}
        self._per_cost = Ewma()  # of all: seconds of service per cost unit
        self._pools: dict[str, Pace] = {}  # by role
        self.residents = Residents()
        self.slots = 0
        self._names: list[str] = []
        self._views: list[WorkerView] = []
        self._changed: set[str] = set()
        self._held: dict[str, float] = {}
        self._open: dict[bool, tuple[WorkerView, ...]] = {}
        self._kv_used: float | None = None
        self._recalled: dict[str, Any] = {}  # of workers that have not reported yet

    def report(self, event: WorkerReported, now: float) -> bool:
        """Take note of a report; return whether the worker is new."""
        worker = self.workers.get(event.worker)
        new = worker is None
        if worker is None:
            worker = self.workers[event.worker] = WorkerState(event.worker, slots=0)
            if event.worker in self._recalled:
                worker.ratios.recall(self._recalled.pop(event.worker))
            place = bisect_left(self._names, event.worker)
            self._names.insert(place, event.worker)
            self._views.insert(place, WorkerView(event.worker, 0))
        self.slots += event.slots - worker.slots
        worker.slots, worker.weight, worker.draining = event.slots, event.weight, event.draining
        worker.kv_used, worker.kv_capacity = event.kv_used, event.kv_capacity
        worker.role, worker.version, worker.reported_at = event.role, event.version, now
        self._changed.add(event.worker)
        self._kv_used = None
        return new

    def remove(self, name: str) -> None:
        """Forget a worker."""
        worker = self.workers.pop(name, None)
        if worker is None:
            return
        place = bisect_left(self._names, name)
        del self._names[place], self._views[place]
        self.slots -= worker.slots
        self._changed.discard(name)
        self._held.pop(name, None)
        self._open.clear()
        self._kv_used = None
        for flight in worker.flights.values():
            self.residents.release(flight)

    def take(self, flight: Flight) -> None:
        """An attempt is in flight from now on."""
        self.residents.take(flight)
        worker = self.workers.get(flight.worker)
        if worker is not None:
            worker.take(flight)
            self._changed.add(flight.worker)

    def began(self, flight: Flight) -> None:
        """An attempt has had its first token."""
        worker = self.workers.get(flight.worker)
        if worker is not None and not flight.began:
            worker.began(flight)
            self._changed.add(flight.worker)

    def release(self, flight: Flight) -> None:
        """An attempt is over."""
        self.residents.release(flight)
        worker = self.workers.get(flight.worker)
        if worker is not None:
            worker.release(flight)
            self._changed.add(flight.worker)

    def learn(self, name: str, usage: Usage, cost: float, now: float) -> None:
        """An attempt used so much and cost so much."""
        if usage.service_s > 0 and cost > 0:
            self._per_cost.update(usage.service_s / cost, now)
        worker = self.workers.get(name)
        if worker is not None:
            found = self._pools.setdefault(worker.role, Pace()).learn(usage, now)
            if found is not None:
                worker.ratios.update(found[0], now, found[1])

    def remember(self) -> dict[str, Any]:
        """Return how long work takes, in all, by pool and by worker. O(workers)."""
        return {
            "per_cost": self._per_cost.remember(),
            "pools": {role: pool.remember() for role, pool in self._pools.items()},
            "workers": {name: w.ratios.remember() for name, w in self.workers.items()},
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on from what `remember` returned; workers are told when they report."""
        self._per_cost.recall(memory["per_cost"])
        for role, learnt in memory["pools"].items():
            self._pools.setdefault(role, Pace()).recall(learnt)
        self._recalled = dict(memory["workers"])

    def service_s(self, cost: float) -> float:
        """Return how long a job of that cost is expected to be served; 0 until that is known."""
        return (self._per_cost.value or 0.0) * cost

    def slowness(self, worker: WorkerState) -> float:
        """Return how much slower than others of its pool a worker is; 1 = like them."""
        pool = self._pools.get(worker.role)
        return pool.slowness(worker.ratios) if pool is not None else 1.0

    def expected_s(self, flight: Flight) -> float:
        """Return how long a flight will take, what is in line before it included; 0 if unknown."""
        worker = self.workers[flight.worker]
        others = len(worker.flights) - 1
        in_line = others + 1 - worker.slots
        ahead = 0.0
        if in_line > 0 and others:
            ahead = (worker.pending_cost - flight.estimate) / others * in_line / worker.slots
        return self.service_s(ahead + flight.estimate)

    def hold(self, name: str, now: float) -> None:
        """The store refused a dispatch to this worker: leave it alone for a while."""
        if name in self.workers:
            self._held[name] = now + HOLD_S

    def open(self, now: float, prefill: bool = False) -> tuple[WorkerView, ...]:
        """Return the workers that may be sent something, in the order of their ids.

        Those that only prefill are among them only if `prefill` says so.
        """
        if self._changed:
            self._refresh()
        views = self._open.get(prefill)
        if views is None:
            views = tuple([v for v in self._views if v.free > 0 and (prefill or v.role != PREFILL)])
            self._open[prefill] = views
        if self._held:
            self._held = {name: until for name, until in self._held.items() if until > now}
            return tuple(view for view in views if view.id not in self._held)
        return views

    def view(self, name: str) -> WorkerView:
        """Return what policies may see of one worker."""
        if self._changed:
            self._refresh()
        return self._views[bisect_left(self._names, name)]

    def views(self) -> list[WorkerView]:
        """Return what policies may see of all workers, in the order of their ids."""
        if self._changed:
            self._refresh()
        return self._views

    @property
    def saturation(self) -> float:
        """The share of all slots in use; 1 when there are none. O(workers)."""
        used = sum(min(len(w.flights), w.slots) for w in self.workers.values())
        return used / self.slots if self.slots else 1.0

    @property
    def mean_kv_used(self) -> float:
        """The mean share of KV memory in use, 0..1."""
        if self._kv_used is None:
            used = [worker.kv_used for worker in self.workers.values()]
            self._kv_used = sum(used) / len(used) if used else 0.0
        return self._kv_used

    def _refresh(self) -> None:
        for name in self._changed:
            self._views[bisect_left(self._names, name)] = self._viewed(self.workers[name])
        self._changed.clear()
        self._open.clear()

    def _viewed(self, worker: WorkerState) -> WorkerView:
        view = WorkerView(
            worker.id,
            worker.slots,
            len(worker.flights),
            worker.pending_cost,
            0,
            self.slowness(worker),
            worker.weight,
            worker.kv_used,
            worker.kv_capacity,
            worker.reported_at,
            worker.role,
            worker.version,
            worker.draining,
            worker.prefill_tokens,
            worker.decoding,
            worker.kv_tokens,
            _kv_room(worker),
        )
        # Nobody has seen it yet: filling in the gate's answer is cheaper than making it twice.
        object.__setattr__(view, "free", self._gate.free(view))
        return view


def _kv_room(worker: WorkerState) -> int:
    """Return how many more jobs like those in flight would fit; an idle worker takes any."""
    if not worker.kv_capacity or not worker.flights or worker.kv_tokens <= 0:
        return _MUCH
    usual = worker.kv_tokens / len(worker.flights)
    return max(0, int((worker.kv_capacity - worker.kv_tokens) / usual))
