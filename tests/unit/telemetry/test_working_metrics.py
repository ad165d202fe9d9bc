"""What a worker counts, and that it counts nothing of the scheduler's."""

from __future__ import annotations

from parallax.broker.store.codec import Report
from parallax.core.errors import Unreachable
from parallax.telemetry.metrics import exposition
from parallax.telemetry.working import WorkingMetrics

REPORT = Report("acme", "w1", 1, 10.0, 100, 20, 30, 0.1, 0.2, 1.5)


def lines(metrics: WorkingMetrics) -> set[str]:
    return set(exposition(metrics.registry).decode().splitlines())


def test_an_end_counts_tokens_and_time() -> None:
    metrics = WorkingMetrics()
    metrics.ended(["completed", "late"], [REPORT, REPORT])
    assert {
        'parallax_worker_attempts_total{result="completed"} 1.0',
        'parallax_worker_attempts_total{result="late"} 1.0',
        "parallax_worker_prompt_tokens_total 140.0",
        "parallax_worker_generation_tokens_total 40.0",
        "parallax_worker_service_seconds_count 1.0",
        'parallax_worker_service_seconds_bucket{le="1.5"} 1.0',
    } <= lines(metrics)


def test_load_and_errors_are_published() -> None:
    metrics = WorkingMetrics()
    metrics.observe(3, 1, 2, 0.25, 8, False)
    metrics.failed(Unreachable("x"))
    metrics.malformed(2)
    assert {
        "parallax_worker_running 3.0",
        "parallax_worker_waiting 1.0",
        "parallax_worker_resting 2.0",
        "parallax_worker_kv_usage_ratio 0.25",
        'parallax_store_errors_total{kind="Unreachable"} 1.0',
        "parallax_malformed_entries_total 2.0",
    } <= lines(metrics)


def test_a_worker_has_no_series_of_the_scheduler() -> None:
    assert not [line for line in lines(WorkingMetrics()) if "queue_depth" in line]
