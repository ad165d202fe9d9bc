"""The live workers: their reports, their attempts in flight, and the views for policies.

A worker's view is made afresh only when something happened to that worker, so a decision costs
O(workers) of looking and not of building.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from math import exp
from typing import Any

from parallax.core.ewma import Ewma
from parallax.core.model import ANY_MODEL, Usage, WorkerView
from parallax.policies.interfaces import DispatchGate
from parallax.scheduling.eligibility import ANSWER, Need, eligible
from parallax.scheduling.events import WorkerReported
from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.load import Ability
from parallax.scheduling.pace import Pace
from parallax.scheduling.residents import Residents

_MUCH = 1_000_000_000
#: Time constant of a worker's warmth (seconds).
_WARM_S = 60.0

#: After the store refused a dispatch, its worker is left alone for so long (seconds).
HOLD_S = 0.05
#: An answer of so many tokens misses its pace if one more prompt is computed beside it.
SHORT_TOKENS = 16.0
#: So often those who were judged slow or fast are judged again: the judgement fades (seconds).
JUDGE_S = 1.0

#: Most needs whose pools are kept; beyond that all are found again as they are asked for.
MOST_POOLS = 256


@dataclass(slots=True)
class WorkerState:
    """One worker. What an attempt added when it was taken is what its release subtracts."""

    id: str
    slots: int = 1
    weight: float = 1.0
    kv_used: float = 0.0
    kv_capacity: int = 0
    dram_tokens: int = 0
    role: str = "both"
    version: str = ""
    draining: bool = False
    models: frozenset[str] = ANY_MODEL
    reported_at: float = 0.0
    pending_cost: float = 0.0
    prefill_tokens: float = 0.0
    decoding: int = 0
    kv_tokens: float = 0.0
    haste: float = 0.0
    attempts: dict[str, InFlight] = field(default_factory=dict)  # by job, in order of dispatch
    #: Measured over expected seconds of service. It fades later than the mean of the pool: most
    #: workers see few of its attempts.
    ratios: Ewma = field(default_factory=lambda: Ewma(20.0))
    warmth: float = 0.0  # prompt tokens a second that were found in its cache
    warm_at: float = 0.0

    @property
    def in_flight(self) -> int:
        """How many attempts are in flight here."""
        return len(self.attempts)

    def take(self, attempt: InFlight) -> None:
        """Count a dispatch."""
        self.attempts[attempt.job.id] = attempt
        attempt.company = len(self.attempts)
        self.pending_cost += attempt.estimate
        self.kv_tokens += attempt.uncached + attempt.output
        self.haste += _haste(attempt.output)
        if attempt.first_token:
            self._decodes(attempt, 1)
        else:
            self.prefill_tokens += attempt.uncached

    def first_token(self, attempt: InFlight) -> None:
        """Its prompt is computed: from now on it decodes."""
        attempt.first_token = True
        self.prefill_tokens -= attempt.uncached
        self._decodes(attempt, 1)

    def found(self, cached: int, now: float) -> None:
        """So many tokens of a prompt were in its cache."""
        faded = exp((self.warm_at - now) / _WARM_S) if now > self.warm_at else 1.0
        self.warmth, self.warm_at = self.warmth * faded + cached / _WARM_S, now

    def release(self, attempt: InFlight) -> None:
        """Count the end of an attempt."""
        if self.attempts.get(attempt.job.id) is not attempt:
            return
        del self.attempts[attempt.job.id]
        if not self.attempts:  # rounding must not accumulate over a worker's life
            self.pending_cost = self.prefill_tokens = self.kv_tokens = self.haste = 0.0
            self.decoding = 0
            return
        self.pending_cost -= attempt.estimate
        self.kv_tokens -= attempt.uncached + attempt.output
        self.haste -= _haste(attempt.output)
        if attempt.first_token:
            self._decodes(attempt, -1)
        else:
            self.prefill_tokens -= attempt.uncached

    def _decodes(self, attempt: InFlight, sign: int) -> None:
        self.decoding += sign


@dataclass(slots=True)
class _Pool:
    """The workers that one kind of job may be given to: who of all, and their views while known."""

    fits: list[bool]
    members: tuple[WorkerView, ...] | None = None


class Fleet:
    """See the module's docstring."""

    def __init__(self, gate: DispatchGate) -> None:
        self._gate = gate
        self.workers: dict[str, WorkerState] = {}
        self._per_cost = Ewma()  # of all: seconds of service per cost unit
        self.ability = Ability()
        self._paces: dict[str, Pace] = {}  # by role
        self.residents = Residents()
        self.slots = 0
        self._names: list[str] = []
        self._views: list[WorkerView] = []
        self._changed: set[str] = set()
        self._judged: set[str] = set()  # whose views say that they are slow, or fast
        self._now = self._judged_at = 0.0
        self._held: dict[str, float] = {}
        self._pools: dict[Need, _Pool] = {}
        self._kv_used: float | None = None
        self._recalled: dict[str, Any] = {}  # of workers that have not reported yet

    def report(self, event: WorkerReported, now: float) -> bool:
        """Take note of a report; return whether the worker is new."""
        self._now = now
        worker = self.workers.get(event.worker)
        new = worker is None
        if worker is None:
            worker = self.workers[event.worker] = WorkerState(event.worker, slots=0)
            if event.worker in self._recalled:
                worker.ratios.recall(self._recalled.pop(event.worker))
            place = bisect_left(self._names, event.worker)
            self._names.insert(place, event.worker)
            self._views.insert(place, WorkerView(event.worker, 0))
            self._pools.clear()
        self.slots += event.slots - worker.slots
        worker.slots, worker.weight, worker.draining = event.slots, event.weight, event.draining
        worker.kv_used, worker.kv_capacity = event.kv_used, event.kv_capacity
        worker.dram_tokens = event.dram_tokens
        worker.role, worker.version, worker.reported_at = event.role, event.version, now
        if len(event.models) != len(worker.models) or not worker.models.issuperset(event.models):
            worker.models = frozenset(event.models)
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
        self._judged.discard(name)
        self._held.pop(name, None)
        self._pools.clear()
        self._kv_used = None
        for attempt in worker.attempts.values():
            self.residents.release(attempt)

    def take(self, attempt: InFlight) -> None:
        """An attempt is in flight from now on."""
        self.residents.take(attempt)
        worker = self.workers.get(attempt.worker)
        if worker is not None:
            worker.take(attempt)
            self._changed.add(attempt.worker)

    def first_token(self, attempt: InFlight) -> None:
        """An attempt has had its first token."""
        worker = self.workers.get(attempt.worker)
        if worker is not None and not attempt.first_token:
            worker.first_token(attempt)
            self._changed.add(attempt.worker)

    def release(self, attempt: InFlight) -> None:
        """An attempt is over."""
        self.residents.release(attempt)
        worker = self.workers.get(attempt.worker)
        if worker is not None:
            worker.release(attempt)
            self._changed.add(attempt.worker)

    def learn(self, attempt: InFlight, usage: Usage, cost: float, now: float) -> None:
        """An attempt that is released used so much and cost so much."""
        self._now = now
        worker, timed = self.workers.get(attempt.worker), usage.service_s > 0 and cost > 0
        if timed:
            self._per_cost.update(usage.service_s / cost, now)
        if worker is not None:
            if timed:
                company = max(attempt.company, len(worker.attempts) + 1)
                self.ability.learn(company, worker.slots, usage.service_s, cost)
            worker.found(usage.cached_tokens, now)
            pace = self._paces.get(worker.role)
            if pace is None:
                pace = self._paces[worker.role] = Pace()
            found = pace.learn(usage, now)
            if found is not None:
                worker.ratios.update(found[0], now, found[1])

    def remember(self) -> dict[str, Any]:
        """Return how long work takes, in all, by pool and by worker. O(workers)."""
        return {
            "per_cost": self._per_cost.remember(),
            "ability": self.ability.remember(),
            "pools": {role: pool.remember() for role, pool in self._paces.items()},
            "workers": {name: w.ratios.remember() for name, w in self.workers.items()},
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on from what `remember` returned; workers are told when they report."""
        self._per_cost.recall(memory["per_cost"])
        for role, learnt in memory["pools"].items():
            self._paces.setdefault(role, Pace()).recall(learnt)
        self._recalled = dict(memory["workers"])
        if "ability" in memory:  # a former leader of an older release kept none
            self.ability.recall(memory["ability"])

    def service_s(self, cost: float) -> float:
        """Return how long a job of that cost is expected to be served; 0 until that is known."""
        return (self._per_cost.value or 0.0) * cost

    def slowness(self, worker: WorkerState) -> float:
        """Return how much slower than others of its pool a worker is; 1 = like them."""
        pace = self._paces.get(worker.role)
        return pace.slowness(worker.ratios, self._now) if pace is not None else 1.0

    def expected_s(self, attempt: InFlight) -> float:
        """Return how long an attempt will take, its queue included, or 0."""
        worker = self.workers[attempt.worker]
        others = len(worker.attempts) - 1
        in_line = others + 1 - worker.slots
        ahead = 0.0
        if in_line > 0 and others:
            ahead = (worker.pending_cost - attempt.estimate) / others * in_line / worker.slots
        return self.service_s(ahead + attempt.estimate)

    def hold(self, name: str, now: float) -> None:
        """The store refused a dispatch to this worker: leave it alone for a while."""
        if name in self.workers:
            self._held[name] = now + HOLD_S

    def open(self, now: float, need: Need = ANSWER) -> tuple[WorkerView, ...]:
        """Return the workers that may be given a job of that need, in the order of their ids."""
        self._now = now
        if self._judged and now - self._judged_at >= JUDGE_S:
            self._judged_at = now
            self._changed |= self._judged
        if self._changed:
            self._refresh()
        pool = self._pools.get(need)
        if pool is None:
            if len(self._pools) >= MOST_POOLS:
                self._pools.clear()
            pool = self._pools[need] = _Pool([eligible(need, view) for view in self._views])
        views = pool.members
        if views is None:
            views = pool.members = tuple(compress(self._views, pool.fits))
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
        used = sum(min(len(w.attempts), w.slots) for w in self.workers.values())
        return used / self.slots if self.slots else 1.0

    @property
    def mean_kv_used(self) -> float:
        """The mean share of KV memory in use, 0..1."""
        if self._kv_used is None:
            used = [worker.kv_used for worker in self.workers.values()]
            self._kv_used = sum(used, 0.0) / len(used) if used else 0.0
        return self._kv_used

    def _refresh(self) -> None:
        """Make the views of workers that have changed afresh, and ask of these who is eligible."""
        for name in self._changed:
            place = bisect_left(self._names, name)
            view = self._views[place] = self._viewed(self.workers[name])
            (self._judged.discard if view.slowness == 1.0 else self._judged.add)(name)
            for need, pool in self._pools.items():
                pool.fits[place] = eligible(need, view)
                pool.members = None
        self._changed.clear()

    def _viewed(self, worker: WorkerState) -> WorkerView:
        view = WorkerView(
            worker.id,
            worker.slots,
            len(worker.attempts),
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
            worker.models,
            worker.haste,
            worker.warmth,
            worker.dram_tokens,
        )
        # Nobody has seen it yet: filling in the gate's answer is cheaper than making it twice.
        object.__setattr__(view, "free", self._gate.free(view))
        return view


def _haste(output: float) -> float:
    """Return how likely an answer of so many tokens is pushed past its pace by one more prompt."""
    return min(1.0, (SHORT_TOKENS / max(1.0, output)) ** 3)


def _kv_room(worker: WorkerState) -> int:
    """Return how many more jobs like those in flight would fit; an idle worker takes any."""
    if not worker.kv_capacity or not worker.attempts or worker.kv_tokens <= 0:
        return _MUCH
    usual = worker.kv_tokens / len(worker.attempts)
    return max(0, int((worker.kv_capacity - worker.kv_tokens) / usual))
