"""What a worker process counts."""

from __future__ import annotations

from parallax.telemetry.metrics import Metrics, error_kind
from parallax.telemetry.report import Report


class WorkingMetrics:
    """The metrics of a worker. Cheap enough for every job."""

    def __init__(self) -> None:
        metrics = self._metrics = Metrics("worker")
        self.registry = metrics.registry
        self._attempts = metrics.counter("worker_attempts_total")
        self._prompt = metrics.counter("worker_prompt_tokens_total")
        self._generation = metrics.counter("worker_generation_tokens_total")
        self._service = metrics.histogram("worker_service_seconds").labels()

    def ended(self, word: str, report: Report) -> None:
        """The store answered `word` to the end of an attempt: its outcome, late, stale, ..."""
        self._attempts.labels(word).inc()
        self._prompt.inc(report.prompt_tokens - report.cached_tokens)
        self._generation.inc(report.output_tokens)
        if word == "completed":
            self._service.observe(report.service_s or 0.0)

    def failed(self, error: Exception) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()

    def malformed(self, count: int) -> None:
        """So many entries were set aside."""
        self._metrics.counter("malformed_entries_total").inc(count)

    def observe(self, running: int, waiting: int, resting: int, kv_used: float) -> None:
        """Publish the load as it is now."""
        self._metrics.gauge("worker_running").set(running)
        self._metrics.gauge("worker_waiting").set(waiting)
        self._metrics.gauge("worker_resting").set(resting)
        self._metrics.gauge("worker_kv_usage_ratio").set(kv_used)
