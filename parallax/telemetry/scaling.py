"""The metrics of an autoscaler process."""

from __future__ import annotations

from parallax.scheduling.autoscaler import Decision
from parallax.telemetry.metrics import Metrics, error_kind


class ScalingMetrics:
    """The metrics of an autoscaler."""

    def __init__(self) -> None:
        self._metrics = Metrics("autoscaler")
        self.registry = self._metrics.registry

    def acting(self, now: bool) -> None:
        """Say whether this process is the one that scales."""
        self._metrics.gauge("autoscaler_acting").set(int(now))

    def decided(self, decision: Decision) -> None:
        """The autoscaler decided."""
        for name in ("wanted", "serving", "starting", "draining"):
            self._metrics.gauge(f"autoscaler_{name}").set(getattr(decision, name))
        counter = self._metrics.counter("autoscaler_decisions_total")
        counter.labels(decision.direction.value, decision.reason.value).inc()

    def failed(self, error: Exception) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()
