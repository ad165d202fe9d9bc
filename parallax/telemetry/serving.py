"""The metrics of a gateway process."""

from __future__ import annotations

from parallax.telemetry.metrics import ROUTES, Metrics


class ServingMetrics:
    """The metrics of a gateway: routes, statuses and times, and nothing that a client chooses."""

    def __init__(self) -> None:
        metrics = Metrics("gateway")
        self.registry = metrics.registry
        self._requests = metrics.counter("gateway_requests_total")
        self._open = metrics.gauge("gateway_open_requests")
        self._first = metrics.histogram("gateway_first_byte_seconds").labels()
        self._broken = metrics.counter("gateway_broken_streams_total")
        self._closed = metrics.counter("gateway_closed_connections_total")

    def began(self) -> None:
        """A request is under way."""
        self._open.inc()

    def ended(self, route: str, status: int) -> None:
        """A request was answered so; 499: its client had left."""
        self._open.dec()
        self._requests.labels(route if route in ROUTES else "other", str(status)).inc()

    def first_byte(self, seconds: float) -> None:
        """The first byte of an answer was there."""
        self._first.observe(seconds)

    def broke(self) -> None:
        """A stream failed after its head was sent."""
        self._broken.inc()

    def gave_up(self, why: str) -> None:
        """A connection was closed on which no whole request came."""
        self._closed.labels(why).inc()
