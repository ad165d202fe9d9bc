"""What the scheduler counts: each method moves the series it should, and no other."""

from __future__ import annotations

from collections import Counter as Tally
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from parallax.broker.store.codec import Report, usage_of
from parallax.core.errors import Fenced, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView
from parallax.core.reasons import Reason
from parallax.core.settings import Policies
from parallax.scheduling.actions import Action, Admitted, Dispatch, Expire, Reject, SaveAccounts
from parallax.scheduling.events import AttemptEnded, Event, JobArrived, JobWithdrawn
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from parallax.scheduling.snapshot import Snapshot
from parallax.telemetry.metrics import exposition
from parallax.telemetry.scheduling import SchedulingMetrics

REPORT = Report(
    "acme", "w1", 1, 10.0, prompt_tokens=100, output_tokens=11, cached_tokens=40,
    wait_s=2.0, prefill_s=0.5, service_s=1.5,
)  # fmt: skip


@pytest.fixture
def metrics() -> SchedulingMetrics:
    return SchedulingMetrics()


def value(metrics: SchedulingMetrics, name: str, **labels: str) -> float | None:
    """Return what Prometheus would scrape."""
    return metrics.registry.get_sample_value(f"parallax_{name}", labels)


def samples(metrics: SchedulingMetrics, name: str) -> dict[str, float]:
    """Return a family's values by the value of its only label."""
    text = exposition(metrics.registry).decode()
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"parallax_{name}"
    }


def ended(outcome: Outcome | None, report: Report = REPORT, tenant: str = "acme") -> AttemptEnded:
    return AttemptEnded("j1", tenant, "w1", 1, 10.0, outcome, usage_of(report))


def reject(reason: Reason) -> Reject:
    return Reject("j", "acme", "1-0", reason, 1.0)


def test_leading_is_a_switch(metrics: SchedulingMetrics) -> None:
    metrics.leading(True)
    assert value(metrics, "leader") == 1
    metrics.leading(False)
    assert value(metrics, "leader") == 0


def test_a_failed_turn_is_counted_by_the_kind_of_its_error(metrics: SchedulingMetrics) -> None:
    metrics.failed(Unreachable("redis://:secret@host is silent"))
    metrics.failed(Unreachable("again"))
    metrics.failed(Fenced("deposed"))
    assert value(metrics, "store_errors_total", kind="Unreachable") == 2
    assert value(metrics, "store_errors_total", kind="Fenced") == 1
    assert "secret" not in exposition(metrics.registry).decode()


def test_turns_are_timed(metrics: SchedulingMetrics) -> None:
    metrics.turned(0.25, 0.002)
    metrics.turned(0.5, 0.004)
    assert value(metrics, "turn_seconds_count") == 2
    assert value(metrics, "turn_seconds_sum") == 0.75


def test_decisions_are_counted_by_kind(metrics: SchedulingMetrics) -> None:
    dispatch = Dispatch("j1", "acme", "1-0", "w1", 1, 10.0)
    actions: list[Action] = [
        Admitted("j1", "acme"), Admitted("j2", "acme"), dispatch, dispatch,
        reject(Reason.QUEUE_FULL), Expire("j4", "acme", "4-0"), SaveAccounts({}),
    ]  # fmt: skip
    metrics.decided(actions)
    assert value(metrics, "dispatches_total") == 2
    assert value(metrics, "admissions_total", outcome="admitted") == 2
    assert value(metrics, "admissions_total", outcome="queue_full") == 1


def test_nothing_decided_counts_nothing(metrics: SchedulingMetrics) -> None:
    before = exposition(metrics.registry)
    metrics.decided([])
    assert exposition(metrics.registry) == before


def test_what_is_shed_later_was_admitted_all_the_same(metrics: SchedulingMetrics) -> None:
    metrics.decided([Admitted("j1", "acme")])
    metrics.decided([reject(Reason.QUEUE_DELAY)] * 3 + [Admitted("j2", "acme")])
    assert value(metrics, "admissions_total", outcome="admitted") == 2
    assert value(metrics, "admissions_total", outcome="queue_delay") == 3


def test_every_word_of_admission_is_a_series_from_the_start(metrics: SchedulingMetrics) -> None:
    words = {"admitted", *(reason.value for reason in Reason if reason.by_admission)}
    assert samples(metrics, "admissions_total") == dict.fromkeys(words, 0.0)
    for reason in Reason:
        if reason.by_admission:
            metrics.decided([reject(reason)])
            assert value(metrics, "admissions_total", outcome=reason.value) == 1
    assert set(samples(metrics, "admissions_total")) == words, "no word made a series of its own"


def counted(metrics: SchedulingMetrics, scheduler: Scheduler, *events: Event) -> float | None:
    """Let a scheduler decide; return how many jobs are said to be admitted."""
    metrics.decided(scheduler.handle(events, 10.0))
    return value(metrics, "admissions_total", outcome="admitted")


def test_a_job_that_comes_again_is_not_admitted_again(metrics: SchedulingMetrics) -> None:
    scheduler = build_scheduler(Policies(), 1)
    job = JobView("j1", "acme", 10, 20, 9.0)
    assert counted(metrics, scheduler, JobArrived(job, "1-0")) == 1
    assert counted(metrics, scheduler, JobArrived(job, "1-0")) == 1  # a read was repeated
    again = JobView("j2", "acme", 10, 20, 9.0, attempt=1)  # handed back by its worker
    assert counted(metrics, scheduler, JobArrived(again, "2-0")) == 1
    assert counted(metrics, scheduler, JobArrived(JobView("j3", "acme", 1, 1, 9.0), "3-0")) == 2


def test_a_completed_attempt_counts_tokens_and_times(metrics: SchedulingMetrics) -> None:
    metrics.reported([(ended(Outcome.COMPLETED), REPORT)])
    assert value(metrics, "jobs_total", tenant="acme", outcome="completed") == 1
    assert value(metrics, "prompt_tokens_total", tenant="acme") == 100
    assert value(metrics, "cached_tokens_total", tenant="acme") == 40
    assert value(metrics, "generation_tokens_total", tenant="acme") == 11
    sums = {name: value(metrics, f"{name}_seconds_sum", tenant="acme")
            for name in ("queue_wait", "ttft", "tpot", "e2e")}  # fmt: skip
    assert sums == pytest.approx({"queue_wait": 2.0, "ttft": 2.5, "tpot": 0.1, "e2e": 3.5})


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
def test_only_completed_jobs_count_in_latencies(
    metrics: SchedulingMetrics, outcome: Outcome
) -> None:
    metrics.reported([(ended(outcome), REPORT)])
    assert value(metrics, "jobs_total", tenant="acme", outcome=outcome.value) == 1
    assert value(metrics, "generation_tokens_total", tenant="acme") == 11
    assert value(metrics, "e2e_seconds_count", tenant="acme") == 0


def test_an_attempt_that_decides_nothing_counts_its_tokens_only(
    metrics: SchedulingMetrics,
) -> None:
    metrics.reported([(ended(None), REPORT)])
    assert value(metrics, "prompt_tokens_total", tenant="acme") == 100
    assert all(value(metrics, "jobs_total", tenant="acme", outcome=o.value) == 0 for o in Outcome)


@pytest.mark.parametrize(
    "report",
    [
        Report("acme", output_tokens=1, wait_s=0.0, prefill_s=0.1, service_s=0.1),
        Report("acme", output_tokens=0, wait_s=0.0, service_s=0.1),
        Report("acme", output_tokens=9),
    ],
    ids=["one token", "no token", "no times"],
)
def test_a_pace_needs_a_first_token_and_one_after_it(
    metrics: SchedulingMetrics, report: Report
) -> None:
    metrics.reported([(ended(Outcome.COMPLETED, report), report)])
    assert value(metrics, "tpot_seconds_count", tenant="acme") == 0
    assert value(metrics, "e2e_seconds_count", tenant="acme") == 1


@pytest.mark.parametrize("event", [JobWithdrawn("j1"), ended(Outcome.COMPLETED)])
def test_an_event_without_a_report_counts_nothing(metrics: SchedulingMetrics, event: Any) -> None:
    before = exposition(metrics.registry)
    metrics.reported([(event, None)])
    assert exposition(metrics.registry) == before


def test_jobs_that_end_without_a_worker_are_counted(metrics: SchedulingMetrics) -> None:
    metrics.ended("acme", Outcome.EXPIRED)
    metrics.ended("acme", Outcome.REJECTED)
    metrics.ended("acme", Outcome.REJECTED)
    assert value(metrics, "jobs_total", tenant="acme", outcome="expired") == 1
    assert value(metrics, "jobs_total", tenant="acme", outcome="rejected") == 2


def test_refused_malformed_recovered_and_swept_are_counted(metrics: SchedulingMetrics) -> None:
    metrics.refused("stale")
    metrics.malformed(3)
    metrics.recovered(Tally(ok=2, deaths=1))
    metrics.swept(Tally(vanished=4))
    assert value(metrics, "dispatches_refused_total", reason="stale") == 1
    assert value(metrics, "malformed_entries_total") == 3
    assert value(metrics, "recoveries_total", result="ok") == 2
    assert value(metrics, "recoveries_total", result="deaths") == 1
    assert value(metrics, "janitor_finds_total", result="vanished") == 4


def test_a_snapshot_replaces_the_one_before(metrics: SchedulingMetrics) -> None:
    metrics.observe(Snapshot({"acme": 5, "bob": 1}, {"w1": 2, "w2": 0}, {"w1": 0.5, "w2": 0.0}))
    assert samples(metrics, "queue_depth") == {"acme": 5, "bob": 1}
    assert samples(metrics, "in_flight") == {"w1": 2, "w2": 0}
    assert samples(metrics, "kv_usage_ratio") == {"w1": 0.5, "w2": 0}
    assert value(metrics, "workers") == 2
    metrics.observe(Snapshot({"bob": 2}, {"w2": 1}, {"w2": 0.1}))
    assert samples(metrics, "queue_depth") == {"bob": 2}
    assert samples(metrics, "in_flight") == {"w2": 1}
    assert samples(metrics, "kv_usage_ratio") == {"w2": 0.1}
    assert value(metrics, "workers") == 1


@pytest.mark.dear
def test_ten_thousand_tenants_stay_few_series_and_none_is_left_out(
    metrics: SchedulingMetrics,
) -> None:
    for n in range(10_000):
        metrics.ended(f"t{n}", Outcome.FAILED)
    metrics.observe(Snapshot({f"t{n}": 1 for n in range(10_000)}, {}, {}))
    depth = samples(metrics, "queue_depth")
    assert len(depth) == 51
    assert sum(depth.values()) == 10_000
    assert depth["other"] == 9_950
    assert value(metrics, "jobs_total", tenant="other", outcome="failed") == 9_950
    lines = [line for line in exposition(metrics.registry).splitlines() if b"jobs_total{" in line]
    assert len(lines) == 51 * len(Outcome)
