"""The views of a scheduler that observers and admission policies get."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import QueueView
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.hedges import Hedges
from parallax.scheduling.load import Load, LoadMeter
from parallax.scheduling.queues import Queues

#: Over how long the offered load is taken: usually, and to see a burst (seconds).
OFFERED_S, BURST_S = 60.0, 6.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Queued jobs by tenant; attempts in flight and use of KV memory by worker.

    `running` are the attempts in flight by tenant; `slowness` says how much slower than others of
    its pool a worker is; `backlog_s` how long all that waits and runs will take, None until known.
    """

    queued: dict[str, int]
    in_flight: dict[str, int]
    kv_used: dict[str, float]
    hedges_refused: int = 0  # since this scheduler began
    running: dict[str, int] = field(default_factory=dict)
    slowness: dict[str, float] = field(default_factory=dict)
    backlog_s: float | None = None


def snapshot_of(queues: Queues, fleet: Fleet, hedges: Hedges | None) -> Snapshot:
    """Return what an observer may see. O(tenants + workers)."""
    return Snapshot(
        {name: len(queue.jobs) + queue.unread for name, queue in queues.by_tenant.items()},
        {name: worker.in_flight for name, worker in fleet.workers.items()},
        {name: worker.kv_used for name, worker in fleet.workers.items()},
        0 if hedges is None else hedges.refused,
        fleet.residents.attempts(),
        {name: fleet.slowness(worker) for name, worker in fleet.workers.items()},
        _backlog_s(queues, fleet),
    )


def _backlog_s(queues: Queues, fleet: Fleet) -> float | None:
    """Return how long the fleet needs for all that waits and runs, if nothing else comes."""
    cost = queues.cost + sum(worker.pending_cost for worker in fleet.workers.values())
    seconds = fleet.service_s(cost)
    return seconds / fleet.slots if fleet.slots and (seconds or not cost) else None


def queue_view(queues: Queues, fleet: Fleet, tenant: str, in_flight: int, now: float) -> QueueView:
    """Return what admission may see when a job of this tenant arrives. O(1)."""
    queue = queues.by_tenant.get(tenant)
    return QueueView(
        len(queue.jobs) + queue.unread if queue else 0,
        queue.cost if queue else 0.0,
        len(queues.tenant_of) + queues.unread,
        queues.cost,
        fleet.mean_kv_used,
        len(fleet.workers),
        in_flight,
        queues.oldest_wait(now),
        memory_part=fleet.residents.part(tenant),
    )


def load_of(queues: Queues, fleet: Fleet, meter: LoadMeter, now: float) -> Load:
    """Return what an autoscaler may see. O(workers).

    Jobs that were not read yet are taken to cost as much as those that were.
    """
    queued, workers = len(queues.tenant_of), tuple(fleet.views())
    waiting = queues.cost + (queues.unread * queues.cost / queued if queued else 0.0)
    return Load(
        meter.rate(now, OFFERED_S),
        meter.rate(now, BURST_S),
        waiting + sum((worker.pending_cost for worker in workers), 0.0),
        waiting,
        fleet.ability.rate(),
        workers,
    )
