"""The table of metrics keeps Prometheus's conventions, and its labels stay few."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from parallax import __version__
from parallax.telemetry.metrics import METRICS, Metric, Metrics, TenantLabels, exposition
from tests.examples import examples

ALLOWED_LABELS = {
    "tenant", "outcome", "reason", "result", "kind", "worker", "version", "arm", "objective",
    "state", "direction",
}  # fmt: skip
FORBIDDEN = ("job", "session", "prompt", "id", "url")
#: Gauges that count things have no unit; whatever else has no suffix is a mistake.
COUNTS = {
    "parallax_leader",
    "parallax_queue_depth",
    "parallax_in_flight",
    "parallax_workers",
    "parallax_worker_running",
    "parallax_worker_resting",
    "parallax_worker_waiting",
    "parallax_gateway_open_requests",
    "parallax_canary_jobs",
    "parallax_canary_missed",
    "parallax_worker_slots",
    "parallax_worker_ready",
    "parallax_cell_up",
    "parallax_cell_leader",
    "parallax_cell_epoch",
    "parallax_cell_queue_depth",
    "parallax_cell_weight",
    "parallax_cell_open_jobs",
    "parallax_cell_dead_letters",
    "parallax_cell_events",
    "parallax_cell_workers",
    "parallax_cell_worker_load",
    "parallax_redis_clients",
    "parallax_redis_disk_ok",
    "parallax_autoscaler_acting",
    "parallax_autoscaler_wanted",
    "parallax_autoscaler_serving",
    "parallax_autoscaler_starting",
    "parallax_autoscaler_draining",
}
SUFFIXES: dict[str, tuple[str, ...]] = {
    "Counter": ("_total",),
    "Histogram": ("_seconds", "_bytes", "_tokens", "_ratio"),
    "Gauge": ("_seconds", "_bytes", "_tokens", "_ratio", "_info"),
}
KINDS = {metric.kind.__name__: metric.kind for metric in METRICS}


def complaints(metric: Metric) -> list[str]:
    """Return how a row breaks the conventions."""
    kind, wrong = metric.kind.__name__, []
    if not re.fullmatch(r"parallax_[a-z0-9]+(_[a-z0-9]+)*", metric.name):
        wrong.append("name")
    if not metric.name.endswith(SUFFIXES[kind]) and metric.name not in COUNTS:
        wrong.append("suffix")
    if kind != "Counter" and metric.name.endswith("_total"):
        wrong.append("total")
    if not re.fullmatch(r"[A-Z1].*\.", metric.meaning):
        wrong.append("meaning")
    if not set(metric.labels) <= ALLOWED_LABELS or len(metric.labels) > 2:
        wrong.append("labels")
    if (kind == "Histogram") != bool(metric.buckets):
        wrong.append("buckets")
    return wrong


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_keeps_the_conventions(metric: Metric) -> None:
    assert complaints(metric) == []


@pytest.mark.parametrize(
    ("name", "kind", "meaning", "labels", "complaint"),
    [
        ("parallax_jobs", "Counter", "Jobs.", (), "suffix"),
        ("parallax_wait_ms", "Histogram", "Wait.", (), "suffix"),
        ("parallax_wait_seconds", "Histogram", "Wait.", (), "buckets"),
        ("parallax_depth_total", "Gauge", "Depth.", (), "total"),
        ("queue_depth", "Gauge", "Depth.", (), "name"),
        ("parallax_jobs_total", "Counter", "", (), "meaning"),
        ("parallax_jobs_total", "Counter", "Jobs.", ("job",), "labels"),
        ("parallax_jobs_total", "Counter", "Jobs.", ("session",), "labels"),
    ],
)
def test_a_planted_breach_of_the_conventions_is_found(
    name: str, kind: str, meaning: str, labels: tuple[str, ...], complaint: str
) -> None:
    assert complaint in complaints(Metric(name, KINDS[kind], meaning, labels))


def test_no_label_could_hold_an_id_or_a_prompt() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    assert not [label for label in labels if any(word in label for word in FORBIDDEN)]


def test_names_are_unique() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", [m for m in METRICS if m.buckets], ids=lambda m: m.name)
def test_bucket_bounds_rise_from_a_positive_one(metric: Metric) -> None:
    assert metric.buckets[0] > 0
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(metric.buckets) <= 30


@pytest.mark.parametrize("metric", [m for m in METRICS if m.preset], ids=lambda m: m.name)
def test_a_closed_set_of_labels_is_exposed_from_the_start(metric: Metric) -> None:
    text = parsed(Metrics("scheduler" if metric.process == "any" else metric.process))
    for value in metric.preset:
        assert f'{metric.name}{{{metric.labels[0]}="{value}"}} 0.0' in text


@pytest.mark.parametrize("process", ["scheduler", "worker", "gateway", "cell", "autoscaler"])
def test_the_exposition_can_be_parsed_and_holds_every_metric_of_the_process(process: str) -> None:
    families = {f.name: f for f in text_string_to_metric_families(parsed(Metrics(process)))}
    for metric in METRICS:
        if metric.process not in (process, "any"):
            continue
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.__name__.lower()
        assert family.documentation == metric.meaning


def test_build_info_tells_the_version() -> None:
    assert f'parallax_build_info{{version="{__version__}"}} 1.0' in parsed(Metrics())


def test_asking_for_a_metric_as_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="jobs_total is a Counter"):
        Metrics().gauge("jobs_total")


def test_processes_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    one.counter("dispatches_total").inc()
    assert "parallax_dispatches_total 1.0" in parsed(one)
    assert "parallax_dispatches_total 0.0" in parsed(other)


@settings(max_examples=examples(50), deadline=None)
@given(tenant=st.text())
def test_whatever_a_label_holds_the_exposition_can_be_parsed(tenant: str) -> None:
    metrics = Metrics()
    metrics.counter("prompt_tokens_total").labels(tenant).inc(7)
    (sample,) = [
        sample
        for family in text_string_to_metric_families(parsed(metrics))
        for sample in family.samples
        if sample.name == "parallax_prompt_tokens_total"
    ]
    assert sample.labels == {"tenant": tenant}
    assert sample.value == 7


def test_the_ten_thousandth_tenant_shares_a_label() -> None:
    labels = TenantLabels()
    shown = [labels.label(f"tenant-{n}") for n in range(10_000)]
    assert shown[0] == "tenant-0"
    assert shown[9_999] == "other"
    assert len(set(shown)) == labels.limit + 1
    assert len(labels.known) == labels.limit


def test_a_known_tenant_keeps_its_label_when_the_limit_is_reached() -> None:
    labels = TenantLabels(limit=1)
    assert [labels.label(t) for t in ("acme", "bob", "acme", "eve")] == [
        "acme", "other", "acme", "other",
    ]  # fmt: skip


def parsed(metrics: Metrics) -> str:
    return exposition(metrics.registry).decode()
