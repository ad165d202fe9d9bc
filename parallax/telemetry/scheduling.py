"""What a scheduler process counts. One method for each thing that happens."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from parallax.broker.codec import Note
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import Outcome
from parallax.scheduling.actions import Action, Dispatch, Reject
from parallax.scheduling.events import AttemptEnded, Event
from parallax.scheduling.scheduler import Snapshot
from parallax.telemetry.metrics import Metrics, TenantLabels


class SchedulingMetrics:
    """The metrics of the scheduling side. Cheap enough for every job."""

    def __init__(self) -> None:
        metrics = self._metrics = Metrics()
        self.registry = metrics.registry
        self._tenants = TenantLabels()
        self._jobs = metrics.counter("jobs_total")
        self._wait = metrics.histogram("queue_wait_seconds")
        self._ttft = metrics.histogram("ttft_seconds")
        self._tpot = metrics.histogram("tpot_seconds")
        self._e2e = metrics.histogram("e2e_seconds")
        self._prompt = metrics.counter("prompt_tokens_total")
        self._cached = metrics.counter("cached_tokens_total")
        self._generation = metrics.counter("generation_tokens_total")
        self._dispatches = metrics.counter("dispatches_total")
        self._admissions = metrics.counter("admissions_total")
        self._refusals = metrics.counter("dispatches_refused_total")
        self._turn = metrics.histogram("turn_seconds")

    def leading(self, now: bool) -> None:
        """Say whether this process is the leader."""
        self._metrics.gauge("leader").set(int(now))

    def failed(self, error: ParallaxError) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(type(error).__name__).inc()

    def turned(self, seconds: float) -> None:
        """A turn took so long."""
        self._turn.observe(seconds)

    def decided(self, actions: Sequence[Action], arrived: int) -> None:
        """The scheduler decided: count dispatches and what admission said."""
        self._dispatches.inc(sum(1 for action in actions if type(action) is Dispatch))
        rejections = [action for action in actions if type(action) is Reject]
        self._admissions.labels("admitted").inc(max(0, arrived - len(rejections)))
        for rejection in rejections:
            self._admissions.labels(rejection.reason).inc()

    def refused(self, reason: str) -> None:
        """The store did not carry out a dispatch."""
        self._refusals.labels(reason).inc()

    def ended(self, tenant: str, outcome: Outcome) -> None:
        """A job ended without a worker."""
        self._jobs.labels(self._tenants.label(tenant), outcome.value).inc()

    def reported(self, event: Event, note: Note | None) -> None:
        """A worker told of the end of an attempt."""
        if note is None or type(event) is not AttemptEnded:
            return
        tenant = self._tenants.label(note.tenant)
        self._prompt.labels(tenant).inc(note.prompt)
        self._cached.labels(tenant).inc(note.cached)
        self._generation.labels(tenant).inc(note.output)
        if event.outcome is None:
            return
        self._jobs.labels(tenant, event.outcome.value).inc()
        if event.outcome is Outcome.COMPLETED:
            self._wait.labels(tenant).observe(note.wait)
            self._e2e.labels(tenant).observe(note.wait + note.service)
            if note.ttft is not None:
                self._ttft.labels(tenant).observe(note.wait + note.ttft)
                if note.output > 1:
                    pace = max(0.0, note.service - note.ttft) / (note.output - 1)
                    self._tpot.labels(tenant).observe(pace)

    def malformed(self, count: int) -> None:
        """So many entries were set aside."""
        self._metrics.counter("malformed_entries_total").inc(count)

    def recovered(self, words: Tally[str]) -> None:
        """The recoverer took these from dead workers."""
        for word, count in words.items():
            self._metrics.counter("recoveries_total").labels(word).inc(count)

    def swept(self, words: Tally[str]) -> None:
        """The janitor found these."""
        for word, count in words.items():
            self._metrics.counter("janitor_finds_total").labels(word).inc(count)

    def observe(self, snapshot: Snapshot) -> None:
        """Publish queue depths and workers as they are now; who left disappears."""
        depth = self._metrics.gauge("queue_depth")
        depth.clear()
        waiting: Tally[str] = Tally()
        for tenant, count in snapshot.queued.items():
            waiting[self._tenants.label(tenant)] += count
        for tenant, count in waiting.items():
            depth.labels(tenant).set(count)
        self._metrics.gauge("workers").set(len(snapshot.in_flight))
        for name, values in (
            ("in_flight", snapshot.in_flight),
            ("kv_usage_ratio", snapshot.kv_used),
        ):
            gauge = self._metrics.gauge(name)
            gauge.clear()
            for worker, value in values.items():
                gauge.labels(worker).set(value)
