"""The metrics of a worker process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from parallax.telemetry.metrics import Metrics, error_kind
from parallax.telemetry.report import Report


class WorkingMetrics:
    """The metrics of a worker. Cheap enough for every job."""

    def __init__(self) -> None:
        metrics = self._metrics = Metrics("worker")
        self.registry = metrics.registry
        self._attempts = metrics.counter("worker_attempts_total")
        self._prompt = metrics.counter("worker_prompt_tokens_total")
        self._cached = metrics.counter("worker_cached_tokens_total")
        self._generation = metrics.counter("worker_generation_tokens_total")
        self._relay = metrics.histogram("worker_relay_seconds").labels()
        self._service = metrics.histogram("worker_service_seconds").labels()

    def ended(self, words: Sequence[str], reports: Sequence[Report]) -> None:
        """The store said a word to the end of each attempt: its outcome, late, stale, ..."""
        for word, count in Counter(words).items():
            self._attempts.labels(word).inc(count)
        self._prompt.inc(sum(report.prompt_tokens - report.cached_tokens for report in reports))
        self._cached.inc(sum(report.cached_tokens for report in reports))
        self._generation.inc(sum(report.output_tokens for report in reports))
        for word, report in zip(words, reports, strict=True):
            if word == "completed":
                self._service.observe(report.service_s or 0.0)

    def relayed(self, seconds: float) -> None:
        """The store took pieces of answers within so long."""
        self._relay.observe(seconds)

    def failed(self, error: Exception) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()

    def malformed(self, count: int) -> None:
        """So many entries were set aside."""
        self._metrics.counter("malformed_entries_total").inc(count)

    def observe(
        self, running: int, waiting: int, resting: int, kv_used: float, slots: int, ready: bool
    ) -> None:
        """Publish the load as it is now, and what the engine can take."""
        self._metrics.gauge("worker_slots").set(slots)
        self._metrics.gauge("worker_ready").set(int(ready))
        self._metrics.gauge("worker_running").set(running)
        self._metrics.gauge("worker_waiting").set(waiting)
        self._metrics.gauge("worker_resting").set(resting)
        self._metrics.gauge("worker_kv_usage_ratio").set(kv_used)
