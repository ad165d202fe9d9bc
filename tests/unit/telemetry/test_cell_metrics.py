"""What the exporter shows of a cell, and what it no longer shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallax.core.errors import Unreachable
from parallax.telemetry.cell import CellFacts, CellMetrics, Pace, TenantFacts, WorkerFacts
from parallax.telemetry.metrics import Metrics
from parallax.telemetry.published import Published, Risen, first

TENANTS = {"acme": TenantFacts(30, 4.0, 3.0), "bob": TenantFacts(10, 2.0, 1.0)}
FACTS = CellFacts(
    at=1_000.0, led=True, lease_left_s=1.5, epoch=7, open_jobs=50, dead_letters=2, events=3,
    ended={"completed": 100}, tenants=TENANTS,
    workers={"w1": WorkerFacts("alive", 4, 0.5, 0.3), "w2": WorkerFacts("dead", 1, 0.0, 9.0)},
    server={"redis_memory_bytes": 1e6, "redis_commands_total": 10.0},
)  # fmt: skip


@pytest.fixture
def metrics() -> CellMetrics:
    shown = CellMetrics()
    shown.show(FACTS, 0.01)
    return shown


def value(metrics: CellMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"parallax_{name}", labels)


def test_everything_of_a_cell_is_shown(metrics: CellMetrics) -> None:
    assert value(metrics, "cell_up") == value(metrics, "cell_leader") == 1
    assert value(metrics, "cell_queue_depth", tenant="acme") == 30
    assert value(metrics, "cell_oldest_age_seconds", tenant="bob") == 2.0
    assert value(metrics, "cell_due_ratio", tenant="acme") == 0.75
    assert value(metrics, "cell_workers", state="dead") == 1
    assert value(metrics, "cell_workers", state="draining") == 0
    assert value(metrics, "cell_heartbeat_age_seconds", worker="w2") == 9.0
    assert value(metrics, "redis_memory_bytes") == 1e6
    assert value(metrics, "cell_dead_letters") == 2


def test_a_gap_between_leaders_is_no_leader_of_its_own(metrics: CellMetrics) -> None:
    metrics.show(replace(FACTS, led=False, epoch=0), 0.01)
    assert value(metrics, "cell_leader") == 0
    assert value(metrics, "cell_epoch") == 7


def test_the_share_served_is_shown_where_it_is_known(metrics: CellMetrics) -> None:
    assert value(metrics, "cell_share_ratio", tenant="acme") is None
    served = {**TENANTS, "acme": TenantFacts(30, 4.0, 3.0, 0.7)}
    metrics.show(replace(FACTS, tenants=served), 0.01)
    assert value(metrics, "cell_share_ratio", tenant="acme") == 0.7


def test_a_tenant_without_work_is_due_nothing(metrics: CellMetrics) -> None:
    idle = {**TENANTS, "acme": TenantFacts(0, 0.0, 3.0)}
    metrics.show(replace(FACTS, tenants=idle), 0.01)
    assert value(metrics, "cell_due_ratio", tenant="acme") == 0.0
    assert value(metrics, "cell_due_ratio", tenant="bob") == 1.0


def test_totals_that_redis_keeps_are_counters(metrics: CellMetrics) -> None:
    metrics.show(replace(FACTS, ended={"completed": 130}), 0.01)
    assert value(metrics, "cell_jobs_total", outcome="completed") == 130
    metrics.show(replace(FACTS, ended={"completed": 5}), 0.01)  # the cell was emptied
    assert value(metrics, "cell_jobs_total", outcome="completed") == 135


def test_the_backlog_is_in_seconds_of_the_rate_at_which_jobs_end(metrics: CellMetrics) -> None:
    assert value(metrics, "cell_backlog_seconds") == 4.0  # nothing has ended yet: the oldest
    metrics.show(replace(FACTS, at=1_010.0, ended={"completed": 150}), 0.01)
    assert value(metrics, "cell_backlog_seconds") == pytest.approx(40 / 5)


def test_what_cannot_be_read_is_not_shown_as_it_was(metrics: CellMetrics) -> None:
    metrics.failed(Unreachable("gone"))
    assert value(metrics, "cell_up") == 0
    assert value(metrics, "cell_queue_depth", tenant="acme") is None
    assert value(metrics, "store_errors_total", kind="Unreachable") == 1
    metrics.show(FACTS, 0.01)
    assert value(metrics, "cell_queue_depth", tenant="acme") == 30


def test_of_many_tenants_those_with_most_work_have_labels(metrics: CellMetrics) -> None:
    many = {f"t{n:03}": TenantFacts(n, float(n), 1.0) for n in range(200)}
    fresh = CellMetrics()
    fresh.show(replace(FACTS, tenants=many), 0.01)
    assert value(fresh, "cell_queue_depth", tenant="t199") == 199
    assert value(fresh, "cell_queue_depth", tenant="t000") is None
    assert value(fresh, "cell_queue_depth", tenant="other") == sum(range(150))
    assert value(fresh, "cell_oldest_age_seconds", tenant="other") == 149.0


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    assert pace.per_s(0.0, 0) == 0.0
    slow = [pace.per_s(float(second), second) for second in range(1, 121)]
    assert slow[-1] == pytest.approx(1.0)
    fast = [pace.per_s(120.0 + later, 120 + 10 * later) for later in range(1, 121)]
    assert fast[-1] == pytest.approx(10.0)
    assert pace.per_s(241.0, 0) == 0.0  # the cell was emptied


def test_a_series_that_stays_is_never_gone() -> None:
    gauge = Metrics("cell").gauge("cell_weight")
    published = Published(gauge)
    published.show({"a": 1.0, "b": 2.0})
    before = gauge.labels("a")
    published.show({"a": 3.0})
    assert gauge.labels("a") is before
    assert [s.labels["tenant"] for m in gauge.collect() for s in m.samples] == ["a"]


def test_a_total_that_falls_was_begun_anew() -> None:
    counter = Metrics("cell").counter("redis_commands_total")
    risen = Risen(counter)
    for total in (10.0, 25.0, 4.0):
        risen.to(total)
    assert [s.value for m in counter.collect() for s in m.samples if "total" in s.name] == [29.0]


def test_labels_of_workers_are_bounded() -> None:
    assert first({"b": 1.0, "a": 2.0, "c": 3.0}, 2) == {"a": 2.0, "b": 1.0}
    assert first({"b": 1.0}, 2) == {"b": 1.0}
