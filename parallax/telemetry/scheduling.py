"""The metrics of a scheduler process. One method for each kind of event."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter

from parallax.core.cost import TokenCost
from parallax.core.lifecycle import Outcome
from parallax.scheduling.actions import Action, Admitted, Cancel, Dispatch, Reject
from parallax.scheduling.events import AttemptEnded, Event
from parallax.scheduling.snapshot import Snapshot
from parallax.telemetry.histogram import Buckets
from parallax.telemetry.metrics import (
    ADMISSIONS,
    ADMITTED,
    MOST_WORKERS,
    OBJECTIVES,
    RESCUES,
    Metrics,
    TenantLabels,
    error_kind,
)
from parallax.telemetry.objectives import Objectives
from parallax.telemetry.published import Published, Risen, first
from parallax.telemetry.pulse import Pulse
from parallax.telemetry.report import Report

_COST = TokenCost()
#: How jobs end that no objective was met for.
_SPOILED = {Outcome.FAILED, Outcome.REJECTED, Outcome.EXPIRED, Outcome.DEAD}


@dataclass(frozen=True, slots=True)
class TenantSeries:
    """The series of one tenant, looked up once: finding them again costs more than counting."""

    ended: dict[Outcome, Counter]
    prompt: Counter
    cached: Counter
    generation: Counter
    cost: Counter
    met: dict[str, Counter]
    missed: dict[str, Counter]
    wait: Buckets
    ttft: Buckets
    tpot: Buckets
    e2e: Buckets

    @classmethod
    def of(cls, metrics: Metrics, tenant: str) -> TenantSeries:
        """Find or make them."""
        jobs = metrics.counter("jobs_total")
        met, missed = metrics.counter("slo_met_total"), metrics.counter("slo_missed_total")
        return cls(
            {outcome: jobs.labels(tenant, outcome.value) for outcome in Outcome},
            metrics.counter("prompt_tokens_total").labels(tenant),
            metrics.counter("cached_tokens_total").labels(tenant),
            metrics.counter("generation_tokens_total").labels(tenant),
            metrics.counter("served_cost_total").labels(tenant),
            {objective: met.labels(tenant, objective) for objective in OBJECTIVES},
            {objective: missed.labels(tenant, objective) for objective in OBJECTIVES},
            metrics.histogram("queue_wait_seconds").labels(tenant),
            metrics.histogram("ttft_seconds").labels(tenant),
            metrics.histogram("tpot_seconds").labels(tenant),
            metrics.histogram("e2e_seconds").labels(tenant),
        )

    def lost(self, outcome: Outcome) -> None:
        """A job ended otherwise than completed, without a worker's report or with one."""
        if outcome in _SPOILED:
            self.missed["e2e"].inc()


@dataclass(slots=True)
class _Sums:
    """The increments of one tenant's counters for a batch of reports."""

    series: TenantSeries
    targets: Objectives
    prompt: int = 0
    cached: int = 0
    generation: int = 0
    ended: dict[Outcome, int] = field(default_factory=dict)
    met: list[int] = field(default_factory=lambda: [0, 0, 0])  # in the order of OBJECTIVES
    missed: list[int] = field(default_factory=lambda: [0, 0, 0])

    def completed(self, report: Report) -> None:
        """A job completed: observe its times, and whether they are within the objectives."""
        series, targets = self.series, self.targets
        e2e, first_token = (report.wait_s or 0.0) + (report.service_s or 0.0), report.ttft_s
        series.wait.observe(report.wait_s or 0.0)
        series.e2e.observe(e2e)
        (self.met if e2e <= targets.e2e_s else self.missed)[2] += 1
        if first_token is not None:
            series.ttft.observe(first_token)
            (self.met if first_token <= targets.ttft_s else self.missed)[0] += 1
            if report.output_tokens > 1:
                each = max(0.0, e2e - first_token) / (report.output_tokens - 1)
                series.tpot.observe(each)
                (self.met if each <= targets.tpot_s else self.missed)[1] += 1

    def count(self) -> None:
        """Add it."""
        self.series.prompt.inc(self.prompt)
        self.series.cached.inc(self.cached)
        self.series.generation.inc(self.generation)
        self.series.cost.inc(_COST(max(0, self.prompt - self.cached), self.generation))
        for outcome, jobs in self.ended.items():
            self.series.ended[outcome].inc(jobs)
            if outcome in _SPOILED:
                self.missed[2] += jobs
        for counters, counts in (self.series.met, self.met), (self.series.missed, self.missed):
            for objective, jobs in zip(OBJECTIVES, counts, strict=True):
                if jobs:
                    counters[objective].inc(jobs)


class SchedulingMetrics:
    """The metrics of the scheduling side. Cheap enough for every job."""

    def __init__(self, objectives: Objectives | None = None) -> None:
        self._targets = objectives or Objectives()
        metrics = self._metrics = Metrics(bounds=self._targets.bounds())
        self.registry = metrics.registry
        self.pulse = Pulse()  # the last minute, for people
        for objective, seconds in self._targets.by_name().items():
            metrics.gauge("slo_target_seconds").labels(objective).set(seconds)
        self._tenants = TenantLabels()
        self._by_tenant: dict[str, TenantSeries] = {}
        self._dispatches = metrics.counter("dispatches_total")
        admissions, rescues = metrics.counter("admissions_total"), metrics.counter("rescues_total")
        self._admissions = {word: admissions.labels(word) for word in ADMISSIONS}
        self._rescues = {word: rescues.labels(word) for word in RESCUES}
        self._refusals = metrics.counter("dispatches_refused_total")
        self._turn = metrics.histogram("turn_seconds").labels()
        self._decision = metrics.histogram("decision_seconds").labels()
        self._hedges_refused = Risen(metrics.counter("hedges_refused_total"))
        self._depth = Published(metrics.gauge("queue_depth"))
        self._in_flight = Published(metrics.gauge("in_flight"))
        self._kv_used = Published(metrics.gauge("kv_usage_ratio"))

    def leading(self, now: bool) -> None:
        """Say whether this process is the leader."""
        self._metrics.gauge("leader").set(int(now))

    def failed(self, error: Exception) -> None:
        """A turn failed."""
        self._metrics.counter("store_errors_total").labels(error_kind(error)).inc()

    def turned(self, seconds: float, decision_s: float) -> None:
        """A turn took so long, and in it the scheduler thought so long."""
        self._turn.observe(seconds)
        self._decision.observe(decision_s)

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
        series = self._series(tenant)
        series.ended[outcome].inc()
        series.lost(outcome)

    def reported(self, told: Sequence[tuple[Event, Report | None]]) -> None:
        """Workers told of ends of attempts, many at once: each counter is touched once a tenant."""
        self.pulse.sampled(told)
        by_tenant: dict[str, _Sums] = {}
        for event, report in told:
            if report is None or type(event) is not AttemptEnded:
                continue
            sums = by_tenant.get(event.tenant)
            if sums is None:
                sums = by_tenant[event.tenant] = _Sums(self._series(event.tenant), self._targets)
            sums.prompt += report.prompt_tokens
            sums.cached += report.cached_tokens
            sums.generation += report.output_tokens
            outcome = event.outcome
            if outcome is not None:
                sums.ended[outcome] = sums.ended.get(outcome, 0) + 1
                if outcome is Outcome.COMPLETED:
                    sums.completed(report)
        for tenant, sums in by_tenant.items():
            sums.count()
            done = sums.ended.get(Outcome.COMPLETED, 0)
            self.pulse.served(tenant, sums.prompt, sums.cached, sums.generation, done)

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
        """Publish the figures of the two arms of a canary; without one nothing is shown."""
        jobs, missed = self._metrics.gauge("canary_jobs"), self._metrics.gauge("canary_missed")
        jobs.clear()
        missed.clear()
        for arm, (judged, bad) in arms.items():
            jobs.labels(arm).set(judged)
            missed.labels(arm).set(bad)

    def observe(self, snapshot: Snapshot) -> None:
        """Publish queue depths and workers as they are now; who left disappears."""
        waiting: Tally[str] = Tally()
        for tenant, count in snapshot.queued.items():
            waiting[self._tenants.label(tenant)] += count
        self._depth.show(waiting)
        self._metrics.gauge("workers").set(len(snapshot.in_flight))
        self._in_flight.show(first(snapshot.in_flight, MOST_WORKERS))
        self._kv_used.show(first(snapshot.kv_used, MOST_WORKERS))
        self._hedges_refused.to(snapshot.hedges_refused)
