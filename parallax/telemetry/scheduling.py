"""What a scheduler process counts. One method for each thing that happens."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter

from parallax.core.lifecycle import Outcome
from parallax.scheduling.actions import Action, Admitted, Cancel, Dispatch, Reject
from parallax.scheduling.events import AttemptEnded, Event
from parallax.scheduling.snapshot import Snapshot
from parallax.telemetry.histogram import Buckets
from parallax.telemetry.metrics import (
    ADMISSIONS,
    ADMITTED,
    RESCUES,
    Metrics,
    TenantLabels,
    error_kind,
)
from parallax.telemetry.pulse import Pulse
from parallax.telemetry.report import Report


@dataclass(frozen=True, slots=True)
class TenantSeries:
    """The series of one tenant, looked up once: finding them again costs more than counting."""

    ended: dict[Outcome, Counter]
    prompt: Counter
    cached: Counter
    generation: Counter
    wait: Buckets
    ttft: Buckets
    tpot: Buckets
    e2e: Buckets

    @classmethod
    def of(cls, metrics: Metrics, tenant: str) -> TenantSeries:
        """Find or make them."""
        jobs = metrics.counter("jobs_total")
        return cls(
            {outcome: jobs.labels(tenant, outcome.value) for outcome in Outcome},
            metrics.counter("prompt_tokens_total").labels(tenant),
            metrics.counter("cached_tokens_total").labels(tenant),
            metrics.counter("generation_tokens_total").labels(tenant),
            metrics.histogram("queue_wait_seconds").labels(tenant),
            metrics.histogram("ttft_seconds").labels(tenant),
            metrics.histogram("tpot_seconds").labels(tenant),
            metrics.histogram("e2e_seconds").labels(tenant),
        )

    def completed(self, report: Report) -> None:
        """A job completed: observe its times."""
        e2e, first = (report.wait_s or 0.0) + (report.service_s or 0.0), report.ttft_s
        self.wait.observe(report.wait_s or 0.0)
        self.e2e.observe(e2e)
        if first is not None:
            self.ttft.observe(first)
            if report.output_tokens > 1:
                self.tpot.observe(max(0.0, e2e - first) / (report.output_tokens - 1))


@dataclass(slots=True)
class _Sums:
    """What a batch of reports adds to the counters of one tenant."""

    series: TenantSeries
    prompt: int = 0
    cached: int = 0
    generation: int = 0
    ended: dict[Outcome, int] = field(default_factory=dict)

    def count(self) -> None:
        """Add it."""
        self.series.prompt.inc(self.prompt)
        self.series.cached.inc(self.cached)
        self.series.generation.inc(self.generation)
        for outcome, jobs in self.ended.items():
            self.series.ended[outcome].inc(jobs)


class SchedulingMetrics:
    """The metrics of the scheduling side. Cheap enough for every job."""

    def __init__(self) -> None:
        metrics = self._metrics = Metrics()
        self.registry = metrics.registry
        self.pulse = Pulse()  # the last minute, for people
        self._tenants = TenantLabels()
        self._by_tenant: dict[str, TenantSeries] = {}
        self._dispatches = metrics.counter("dispatches_total")
        admissions, rescues = metrics.counter("admissions_total"), metrics.counter("rescues_total")
        self._admissions = {word: admissions.labels(word) for word in ADMISSIONS}
        self._rescues = {word: rescues.labels(word) for word in RESCUES}
        self._refusals = metrics.counter("dispatches_refused_total")
        self._turn = metrics.histogram("turn_seconds").labels()

    def leading(self, now: bool) -> None:
        """Say whether this process is the leader."""
        self._metrics.gauge("leader").set(int(now))

    def failed(self, error: Exception) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()

    def turned(self, seconds: float) -> None:
        """A turn took so long."""
        self._turn.observe(seconds)

    def decided(self, actions: Sequence[Action]) -> None:
        """The scheduler decided: count dispatches, rescues and what admission said."""
        dispatches = admitted = 0
        for action in actions:
            if type(action) is Dispatch:
                dispatches += 1
                if action.hedge or action.prefilled_by:
                    self._rescues["hedge" if action.hedge else "handover"].inc()
            elif type(action) is Admitted:
                admitted += 1
            elif type(action) is Reject:
                self._admissions[action.reason].inc()
            elif type(action) is Cancel:
                self._rescues["stop"].inc()
        if actions:
            self.pulse.decided(actions)
        if dispatches:
            self._dispatches.inc(dispatches)
        if admitted:
            self._admissions[ADMITTED].inc(admitted)

    def stolen(self, words: Sequence[str]) -> None:
        """Attempts were to be moved to an idle worker: what the store said to each."""
        for word in words:
            self._metrics.counter("steals_total").labels(word).inc()

    def refused(self, reason: str) -> None:
        """The store did not carry out a dispatch."""
        self._refusals.labels(reason).inc()

    def ended(self, tenant: str, outcome: Outcome) -> None:
        """A job ended without a worker."""
        self._series(tenant).ended[outcome].inc()

    def reported(self, told: Sequence[tuple[Event, Report | None]]) -> None:
        """Workers told of ends of attempts, many at once: each counter is touched once a tenant."""
        self.pulse.reported(told)
        by_tenant: dict[str, _Sums] = {}
        for event, report in told:
            if report is None or type(event) is not AttemptEnded:
                continue
            sums = by_tenant.get(event.tenant)
            if sums is None:
                sums = by_tenant[event.tenant] = _Sums(self._series(event.tenant))
            sums.prompt += report.prompt_tokens
            sums.cached += report.cached_tokens
            sums.generation += report.output_tokens
            outcome = event.outcome
            if outcome is not None:
                sums.ended[outcome] = sums.ended.get(outcome, 0) + 1
                if outcome is Outcome.COMPLETED:
                    sums.series.completed(report)
        for sums in by_tenant.values():
            sums.count()

    def _series(self, tenant: str) -> TenantSeries:
        label = self._tenants.label(tenant)
        series = self._by_tenant.get(label)
        if series is None:
            series = self._by_tenant[label] = TenantSeries.of(self._metrics, label)
        return series

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

    def canary(self, arms: Mapping[str, tuple[int, int]]) -> None:
        """Publish what is known of the two arms of a canary; without one nothing is shown."""
        jobs, missed = self._metrics.gauge("canary_jobs"), self._metrics.gauge("canary_missed")
        jobs.clear()
        missed.clear()
        for arm, (judged, bad) in arms.items():
            jobs.labels(arm).set(judged)
            missed.labels(arm).set(bad)

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
