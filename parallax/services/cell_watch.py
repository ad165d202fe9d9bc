"""Looks at a cell again and again, for who wants to see all of it: the exporter's duty."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from parallax.broker.link.connection import Link
from parallax.broker.store.beside import look_beside
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import CellState, Overview, WorkerState
from parallax.core.clock import Clock
from parallax.telemetry.cell import CellFacts, CellMetrics, TenantFacts, WorkerFacts

log = logging.getLogger(__name__)

#: Metric -> what the server calls it.
_NUMBERS = {
    "redis_memory_bytes": ("used_memory",),
    "redis_memory_limit_bytes": ("maxmemory",),
    "redis_clients": ("connected_clients",),
    "redis_commands_total": ("total_commands_processed",),
    "redis_cpu_seconds_total": ("used_cpu_sys", "used_cpu_user"),
}
_WRITES = ("aof_last_write_status", "rdb_last_bgsave_status")


class CellWatch:
    """Reads the cell every `every_s` seconds, and shows it. A `Service`."""

    def __init__(
        self, link: Link, keys: Keys, metrics: CellMetrics, clock: Clock, every_s: float
    ) -> None:
        self._link, self._keys, self._metrics = link, keys, metrics
        self._clock, self._every_s = clock, every_s
        self._due: float | None = None
        self._died: dict[str, float] = {}  # worker -> when its heartbeat was last seen

    def run_once(self) -> None:
        """Look at the cell once it is due; else wait for a while."""
        now = self._clock.monotonic()
        if self._due is not None and now < self._due:
            self._clock.wait(min(self._due - now, 0.5))
            return
        facts = self._facts(Overview(self._link, self._keys).read())
        took_s = self._clock.monotonic() - now
        self._due = now + max(self._every_s, 4 * took_s)  # a large cell is looked at less often
        self._metrics.show(facts, took_s)

    def recover(self, error: Exception) -> None:
        """The cell could not be read."""
        self._metrics.failed(error)
        self._link.close()

    def close(self) -> None:
        """Leave."""
        self._link.close()

    def _facts(self, seen: CellState) -> CellFacts:
        names = [one.name for one in seen.tenants]
        beside = look_beside(self._link, self._keys, names, seen.at)
        tenants = {
            one.name: TenantFacts(
                one.waiting_jobs, beside.oldest_s[one.name], one.weight, one.share
            )
            for one in seen.tenants
        }
        workers = {one.name: self._worker(one, seen.at) for one in seen.workers}
        self._died = {name: at for name, at in self._died.items() if name in workers}
        return CellFacts(
            at=seen.at, led=seen.leader is not None, lease_left_s=beside.lease_left_s,
            epoch=seen.leader.epoch if seen.leader else 0, open_jobs=seen.open_jobs,
            dead_letters=seen.dead_letters, events=seen.streams["events"], ended=seen.totals,
            tenants=tenants, workers=workers, server=_numbers(beside.server),
        )  # fmt: skip

    def _worker(self, one: WorkerState, now: float) -> WorkerFacts:
        member = one.member
        age: float | None
        if member.alive:
            age = member.heartbeat_age_s
            self._died[member.worker] = now - (age or 0.0)
        else:
            age = max(0.0, now - self._died.setdefault(member.worker, now))
        return WorkerFacts(one.state, one.stream_jobs, member.number("kv_used"), age)


def _numbers(server: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric, names in _NUMBERS.items():
        values = [_number(server.get(name)) for name in names]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found[metric] = sum(known)
    states = [server[name] for name in _WRITES if name in server]
    if states:
        found["redis_disk_ok"] = float(all(state == "ok" for state in states))
    return found


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
