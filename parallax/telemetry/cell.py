"""Exports the state of a whole cell as it stands in Redis, whichever scheduler leads it."""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from parallax.telemetry.metrics import (
    ENDS,
    MOST_WORKERS,
    WORKER_STATES,
    Metrics,
    TenantLabels,
    error_kind,
)
from parallax.telemetry.published import Published, Risen, first

#: Seconds over which the rate at which jobs end is taken.
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """A tenant: jobs that wait, seconds that the first of them waits, weight, share served."""

    waiting: int
    oldest_s: float
    weight: float
    share: float | None = None  # of the cost served in the last minute, if that is known


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker: how it is (`WORKER_STATES`), its load, and the age of its heartbeat."""

    state: str
    load: int
    kv_used: float
    heartbeat_age_s: float | None


@dataclass(frozen=True, slots=True)
class CellFacts:
    """The readings of a cell that are exported."""

    at: float
    led: bool
    lease_left_s: float
    epoch: int
    open_jobs: int
    dead_letters: int
    events: int
    ended: Mapping[str, int]
    tenants: Mapping[str, TenantFacts]
    workers: Mapping[str, WorkerFacts]
    server: Mapping[str, float]  # metric without its prefix -> value


@dataclass(slots=True)
class Pace:
    """How fast jobs ended in the last minute."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def per_s(self, at: float, ended: int) -> float:
        """Note a total; return jobs per second since the oldest one that is a minute old."""
        if self._seen and (ended < self._seen[-1][1] or at < self._seen[-1][0]):
            self._seen.clear()  # the cell began anew, or the clock went back
        self._seen.append((at, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= at - WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        return (ended - before) / (at - began) if at > began else 0.0


class CellMetrics:
    """The metrics of a cell."""

    def __init__(self) -> None:
        metrics = self._metrics = Metrics("cell")
        self.registry = metrics.registry
        self._labels, self._pace = TenantLabels(), Pace()
        self._by_tenant = {
            name: Published(metrics.gauge(f"cell_{name}"))
            for name in ("queue_depth", "oldest_age_seconds", "weight", "due_ratio", "share_ratio")
        }
        self._by_worker = {
            name: Published(metrics.gauge(f"cell_{name}"))
            for name in ("worker_load", "worker_kv_ratio", "heartbeat_age_seconds")
        }
        ended = metrics.counter("cell_jobs_total")
        self._ended = {word: Risen(ended.labels(word)) for word in ENDS}
        self._server = {
            name: Risen(metrics.counter(name))
            for name in ("redis_commands_total", "redis_cpu_seconds_total")
        }

    def failed(self, error: Exception) -> None:
        """The cell could not be read: nothing is shown that may no longer be true."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()
        self._set("up", 0)
        for gauge in (*self._by_tenant.values(), *self._by_worker.values()):
            gauge.show({})

    def show(self, facts: CellFacts, took_s: float) -> None:
        """Show a cell as it is now."""
        self._set("up", 1)
        self._set("read_seconds", took_s)
        self._set("leader", int(facts.led))
        self._set("lease_left_seconds", facts.lease_left_s)
        if facts.led:  # while nobody leads, the last one stands: a gap is no further leader
            self._set("epoch", facts.epoch)
        for name in ("open_jobs", "dead_letters", "events"):
            self._set(name, getattr(facts, name))
        for word, risen in self._ended.items():
            risen.to(facts.ended.get(word, 0))
        self._show_backlog(facts)
        self._show_tenants(facts.tenants)
        self._show_workers(facts.workers)
        for name, value in facts.server.items():
            if name in self._server:
                self._server[name].to(value)
            else:
                self._metrics.gauge(name).set(value)

    def _set(self, name: str, value: float) -> None:
        self._metrics.gauge(f"cell_{name}").set(value)

    def _show_backlog(self, facts: CellFacts) -> None:
        pace = self._pace.per_s(facts.at, sum(facts.ended.get(word, 0) for word in ENDS))
        waiting = sum(one.waiting for one in facts.tenants.values())
        oldest = max((one.oldest_s for one in facts.tenants.values()), default=0.0)
        self._set("backlog_seconds", waiting / pace if pace > 0 else oldest)

    def _show_tenants(self, tenants: Mapping[str, TenantFacts]) -> None:
        """Show tenants; those beyond the limit of labels together: sums, and the oldest of all."""
        at_work = sum(one.weight for one in tenants.values() if one.waiting)
        depth, weight, due, oldest, served = (dict[str, float]() for _ in range(5))
        for name in _by_need(tenants):
            one, label = tenants[name], self._labels.label(name)
            depth[label] = depth.get(label, 0.0) + one.waiting
            weight[label] = weight.get(label, 0.0) + one.weight
            share = one.weight / at_work if one.waiting else 0.0
            due[label] = due.get(label, 0.0) + share
            if one.share is not None:
                served[label] = served.get(label, 0.0) + one.share
            oldest[label] = max(oldest.get(label, 0.0), one.oldest_s)
        for gauge, values in zip(
            self._by_tenant.values(), (depth, oldest, weight, due, served), strict=True
        ):
            gauge.show(values)

    def _show_workers(self, workers: Mapping[str, WorkerFacts]) -> None:
        states = Tally(one.state for one in workers.values())
        for state in WORKER_STATES:
            self._metrics.gauge("cell_workers").labels(state).set(states[state])
        loads = {name: float(one.load) for name, one in workers.items()}
        kv = {name: one.kv_used for name, one in workers.items()}
        ages = {
            name: one.heartbeat_age_s
            for name, one in workers.items()
            if one.heartbeat_age_s is not None
        }
        for gauge, values in zip(self._by_worker.values(), (loads, kv, ages), strict=True):
            gauge.show(first(values, MOST_WORKERS))


def _by_need(tenants: Mapping[str, TenantFacts]) -> Sequence[str]:
    """Return the tenants, those with the most waiting jobs first: they get labels first."""
    return sorted(tenants, key=lambda name: (-tenants[name].waiting, name))
