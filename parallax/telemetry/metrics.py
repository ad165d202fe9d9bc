"""Every metric in one table: name, kind, meaning, labels.

Names carry the prefix `parallax_`, base units and, for counters, `_total`. Labels come from closed
sets: outcomes, reasons, workers' names, and tenants through `TenantLabels`, which lets in only the
first `limit` of them and calls the rest `other`; never ids, prompts or sessions. Bucket bounds
follow vLLM and the OpenTelemetry GenAI conventions, so that panels made for those fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from parallax import __version__
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.core.words import Finished, Reclaimed, Repaired, Routed, Scrubbed, Stolen, Woken
from parallax.telemetry.histogram import Histogram

Collector = Counter | Gauge | Histogram
#: Units that names end in, before `_total`.
UNITS = ("seconds", "bytes", "tokens", "ratio", "cost")
C = TypeVar("C", Counter, Gauge, Histogram)

TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
TPOT_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0,
    15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
DECISION_BUCKETS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1,
)  # fmt: skip
TURN_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `preset` are label values whose series exist from the start.

    `process` says whose metric it is: the scheduler's, the worker's, the gateway's, the cell's,
    which `parallax exporter` reads in Redis, or `any`.
    """

    name: str
    kind: type[Collector]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    preset: tuple[str, ...] = ()
    process: str = "scheduler"

    @property
    def unit(self) -> str:
        """The unit, which is the end of the name; a metric without one counts, or is 0 or 1."""
        stem = self.name.removesuffix("_total").rpartition("_")[2]
        return stem if stem in UNITS else ""


def _but(words: type[StrEnum], one: StrEnum) -> tuple[StrEnum, ...]:
    """Return the words of an enum without one, that nobody counts there."""
    return tuple(word for word in words if word is not one)


REFUSALS = _but(Routed, Routed.OK)
RECOVERIES = (*_but(Reclaimed, Reclaimed.ALIVE), "deaths")
RESCUES = ("hedge", "stop", "handover")
STEALS = tuple(Stolen)
#: Most workers that have series of their own.
MOST_WORKERS = 500
OBJECTIVES = ("ttft", "tpot", "e2e")
WORKER_STATES = ("alive", "unready", "draining", "dead")
ENDS = tuple(outcome.value for outcome in Outcome)
ERRORS = ("Unreachable", "StoreFull", "StoreFault", "Fenced", "Other")
ADMITTED = "admitted"
ADMISSIONS = (ADMITTED, *(reason.value for reason in Reason if reason.by_admission))
#: The end of an attempt that decides its job is counted by how the job ended, not as `ok`.
ANSWERS = ("completed", "failed", "expired", "cancelled", "dead", *_but(Finished, Finished.OK))
FINDS = (*_but(Repaired, Repaired.YOUNG), Scrubbed.REMOVED, Woken.RUNG, "stray")

#: What a gateway serves; all else is `other`.
ROUTES = (
    "chat", "completions", "responses", "embeddings", "tokenize", "models", "model", "health",
    "ready", "metrics", "openapi",
)  # fmt: skip
#: Why a gateway closes a connection: no head, no rest, no further request; too many of them.
CLOSED = ("head", "rest", "idle", "crowd")

METRICS: tuple[Metric, ...] = (
    Metric("parallax_build_info", Gauge, "Always 1; the version is a label.", ("version",),
           process="any"),
    Metric("parallax_leader", Gauge, "1 while this process holds the lease."),
    Metric("parallax_jobs_total", Counter, "Jobs that ended.", ("tenant", "outcome")),
    Metric("parallax_admissions_total", Counter, "What admission said: of each job once, when it "
           "came (`admitted`, or why not), and of those that it shed from the queue later.",
           ("outcome",), preset=ADMISSIONS),
    Metric("parallax_dispatches_total", Counter, "Attempts sent to workers."),
    Metric("parallax_dispatches_refused_total", Counter, "Dispatches the store did not carry out.",
           ("reason",), preset=REFUSALS),
    Metric("parallax_rescues_total", Counter, "Second attempts sent, attempts told to stop because "
           "another was faster, and prompts handed over to who gives the answer.", ("kind",),
           preset=RESCUES),
    Metric("parallax_hedges_refused_total", Counter, "Second attempts that were due and that the "
           "policy did not allow: its budget is spent, or the fleet is full."),
    Metric("parallax_steals_total", Counter, "Attempts that an idle worker was to take, by what "
           "came of it.", ("result",), preset=STEALS),
    Metric("parallax_canary_jobs", Gauge, "Jobs of each arm that were judged while a canary runs.",
           ("arm",)),
    Metric("parallax_canary_missed", Gauge, "Of these, jobs that missed their objective.",
           ("arm",)),
    Metric("parallax_queue_depth", Gauge, "Jobs waiting for dispatch.", ("tenant",)),
    Metric("parallax_in_flight", Gauge, "Attempts at a worker.", ("worker",)),
    Metric("parallax_kv_usage_ratio", Gauge, "Share of a worker's KV memory in use.", ("worker",)),
    Metric("parallax_workers", Gauge, "Live workers."),
    Metric("parallax_queue_wait_seconds", Histogram, "From acceptance to the start of the attempt.",
           ("tenant",), LATENCY_BUCKETS),
    Metric("parallax_ttft_seconds", Histogram, "From acceptance to the first token.",
           ("tenant",), TTFT_BUCKETS),
    Metric("parallax_tpot_seconds", Histogram, "Time per output token after the first.",
           ("tenant",), TPOT_BUCKETS),
    Metric("parallax_e2e_seconds", Histogram, "From acceptance to the end.",
           ("tenant",), LATENCY_BUCKETS),
    Metric("parallax_slo_target_seconds", Gauge, "What counts as in time; a bound of the "
           "histogram's buckets.", ("objective",), preset=OBJECTIVES),
    Metric("parallax_slo_met_total", Counter, "Completed jobs within the objective.",
           ("tenant", "objective")),
    Metric("parallax_slo_missed_total", Counter, "Completed jobs beyond the objective; for `e2e` "
           "also those that were rejected, failed, expired or are dead.", ("tenant", "objective")),
    Metric("parallax_served_cost_total", Counter, "Cost of what was computed for ended attempts: "
           "prompt tokens that no cache had, and twice the output tokens.", ("tenant",)),
    Metric("parallax_prompt_tokens_total", Counter, "Prompt tokens of ended attempts.",
           ("tenant",)),
    Metric("parallax_cached_tokens_total", Counter, "Prompt tokens found in a KV cache.",
           ("tenant",)),
    Metric("parallax_generation_tokens_total", Counter, "Output tokens of ended attempts.",
           ("tenant",)),
    Metric("parallax_recoveries_total", Counter, "Taken from dead workers, by what came of "
           "it; `deaths` counts the workers.", ("result",), preset=RECOVERIES),
    Metric("parallax_janitor_finds_total", Counter, "What the janitor found, by what it did.",
           ("result",), preset=FINDS),
    Metric("parallax_malformed_entries_total", Counter, "Stream entries that were set aside.",
           process="any"),
    Metric("parallax_store_errors_total", Counter, "Turns that failed, by kind of error.",
           ("kind",), preset=ERRORS, process="any"),
    Metric("parallax_turn_seconds", Histogram, "Duration of a scheduler's turn, waiting excluded.",
           (), TURN_BUCKETS),
    Metric("parallax_decision_seconds", Histogram, "What the scheduler thought in a turn: all "
           "arrivals and reports of it decided on, without reading or writing.", (),
           DECISION_BUCKETS),
    Metric("parallax_worker_attempts_total", Counter, "Attempts of this worker, by what the store "
           "answered to their end.", ("result",), preset=ANSWERS, process="worker"),
    Metric("parallax_worker_running", Gauge, "Attempts in the engine.", process="worker"),
    Metric("parallax_worker_waiting", Gauge, "Attempts before the engine.", process="worker"),
    Metric("parallax_worker_resting", Gauge, "Failed attempts before a retry.", process="worker"),
    Metric("parallax_worker_kv_usage_ratio", Gauge, "Share of KV memory in use.",
           process="worker"),
    Metric("parallax_worker_prompt_tokens_total", Counter, "Prompt tokens computed, cached ones "
           "excluded.", process="worker"),
    Metric("parallax_worker_generation_tokens_total", Counter, "Output tokens written.",
           process="worker"),
    Metric("parallax_worker_cached_tokens_total", Counter, "Prompt tokens found in the KV cache.",
           process="worker"),
    Metric("parallax_worker_slots", Gauge, "Attempts that the engine runs at once.",
           process="worker"),
    Metric("parallax_worker_ready", Gauge, "1 while the engine can be used and is not draining.",
           process="worker"),
    Metric("parallax_worker_relay_seconds", Histogram, "From sending pieces of answers to the "
           "store's reply: the pieces behind them wait so long.", (), TURN_BUCKETS,
           process="worker"),
    Metric("parallax_worker_service_seconds", Histogram, "From the start of an attempt to its end.",
           (), LATENCY_BUCKETS, process="worker"),
    Metric("parallax_gateway_requests_total", Counter, "Requests by what they asked for and their "
           "status; 499: the client left before.", ("kind", "result"), process="gateway"),
    Metric("parallax_gateway_open_requests", Gauge, "Requests under way.", process="gateway"),
    Metric("parallax_gateway_first_byte_seconds", Histogram, "From a request to the first chunk of "
           "its answer, or all of it.", (), TTFT_BUCKETS, process="gateway"),
    Metric("parallax_gateway_broken_streams_total", Counter, "Streams that failed after their head "
           "was sent.", process="gateway"),
    Metric("parallax_gateway_closed_connections_total", Counter, "Connections closed because no "
           "whole request came on them, by what was waited for; crowd: there were too many.",
           ("kind",), preset=CLOSED, process="gateway"),
    Metric("parallax_autoscaler_acting", Gauge, "1 while this process is the one that scales the "
           "cell.", process="autoscaler"),
    Metric("parallax_autoscaler_wanted", Gauge, "Workers wanted.", process="autoscaler"),
    Metric("parallax_autoscaler_serving", Gauge, "Workers that take new work.",
           process="autoscaler"),
    Metric("parallax_autoscaler_starting", Gauge, "Workers that were asked for and do not serve "
           "yet.", process="autoscaler"),
    Metric("parallax_autoscaler_draining", Gauge, "Workers that end what they have, to leave.",
           process="autoscaler"),
    Metric("parallax_autoscaler_decisions_total", Counter, "Decisions, by where the number of "
           "workers went and by what decided.", ("direction", "reason"), process="autoscaler"),
    Metric("parallax_cell_up", Gauge, "1 while the cell can be read in Redis.", process="cell"),
    Metric("parallax_cell_read_seconds", Gauge, "What the last look at the cell took.",
           process="cell"),
    Metric("parallax_cell_leader", Gauge, "1 while somebody leads the cell.", process="cell"),
    Metric("parallax_cell_lease_left_seconds", Gauge, "How long the leader's lease still lasts.",
           process="cell"),
    Metric("parallax_cell_epoch", Gauge, "A number that rises with each new leader.",
           process="cell"),
    Metric("parallax_cell_queue_depth", Gauge, "Jobs in the tenant's stream: neither at a worker "
           "nor refused.", ("tenant",), process="cell"),
    Metric("parallax_cell_oldest_age_seconds", Gauge, "How long the first of them is there.",
           ("tenant",), process="cell"),
    Metric("parallax_cell_weight", Gauge, "The tenant's weight.", ("tenant",), process="cell"),
    Metric("parallax_cell_due_ratio", Gauge, "The share that its weight gives to the tenant among "
           "those with jobs that wait.", ("tenant",), process="cell"),
    Metric("parallax_cell_share_ratio", Gauge, "The tenant's share of the cost served in the last "
           "minute, as the leader tells.", ("tenant",), process="cell"),
    Metric("parallax_cell_open_jobs", Gauge, "Accepted jobs that have not ended.", process="cell"),
    Metric("parallax_cell_jobs_total", Counter, "Jobs that ended since the cell began.",
           ("outcome",), preset=ENDS, process="cell"),
    Metric("parallax_cell_backlog_seconds", Gauge, "What waits, at the rate at which jobs ended in "
           "the last minute; while none does, the age of the oldest.", process="cell"),
    Metric("parallax_cell_dead_letters", Gauge, "Dead letters that nobody has dealt with.",
           process="cell"),
    Metric("parallax_cell_events", Gauge, "Entries of the stream that workers tell the leader "
           "with: what it has not read yet, and some that it has.", process="cell"),
    Metric("parallax_cell_workers", Gauge, "Registered workers.", ("state",), preset=WORKER_STATES,
           process="cell"),
    Metric("parallax_cell_worker_load", Gauge, "Attempts in the worker's stream.", ("worker",),
           process="cell"),
    Metric("parallax_cell_worker_kv_ratio", Gauge, "Share of its KV memory in use, as it says.",
           ("worker",), process="cell"),
    Metric("parallax_cell_heartbeat_age_seconds", Gauge, "Since the worker's last heartbeat.",
           ("worker",), process="cell"),
    Metric("parallax_redis_memory_bytes", Gauge, "Memory that the server uses.", process="cell"),
    Metric("parallax_redis_memory_limit_bytes", Gauge, "Its limit (`maxmemory`); 0: none.",
           process="cell"),
    Metric("parallax_redis_clients", Gauge, "Connections to it.", process="cell"),
    Metric("parallax_redis_commands_total", Counter, "Commands that it carried out.",
           process="cell"),
    Metric("parallax_redis_cpu_seconds_total", Counter, "CPU time that it used.", process="cell"),
    Metric("parallax_redis_disk_ok", Gauge, "1 while its last write to the disk succeeded.",
           process="cell"),
)  # fmt: skip


class Metrics:
    """The collectors of one process, by the metric's name without its prefix.

    `bounds` has a further bound of the buckets of some histograms: an objective is one, so that how
    many jobs kept it can be read exactly.
    """

    def __init__(
        self, process: str = "scheduler", bounds: Mapping[str, float] | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        more = bounds or {}
        self._collectors = {
            metric.name: _built(metric, self.registry, more.get(metric.name))
            for metric in METRICS
            if metric.process in (process, "any")
        }
        self.gauge("build_info").labels(__version__).set(1)

    def counter(self, name: str) -> Counter:
        """Return a counter."""
        return self._typed(name, Counter)

    def gauge(self, name: str) -> Gauge:
        """Return a gauge."""
        return self._typed(name, Gauge)

    def histogram(self, name: str) -> Histogram:
        """Return a histogram."""
        return self._typed(name, Histogram)

    def _typed(self, name: str, kind: type[C]) -> C:
        collector = self._collectors[f"parallax_{name}"]
        if not isinstance(collector, kind):
            raise TypeError(f"{name} is a {type(collector).__name__}")
        return collector


@dataclass(slots=True)
class TenantLabels:
    """Bounds the number of series: the first `limit` tenants have their own, the rest share one."""

    limit: int = 50
    known: set[str] = field(default_factory=set)

    def label(self, tenant: str) -> str:
        """Return the label for a tenant."""
        if tenant in self.known:
            return tenant
        if len(self.known) < self.limit:
            self.known.add(tenant)
            return tenant
        return "other"


def error_kind(error: Exception) -> str:
    """Return the label of a failed turn: the error's nearest kind in the table, else `Other`."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((name for name in names if name in ERRORS), "Other")


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the text that Prometheus scrapes."""
    return generate_latest(registry)


def _built(metric: Metric, registry: CollectorRegistry, bound: float | None = None) -> Collector:
    if issubclass(metric.kind, Histogram):
        bounds = sorted({*metric.buckets, *([] if bound is None else [bound])})
        histogram = Histogram(metric.name, metric.meaning, metric.labels, bounds)
        registry.register(histogram)
        return histogram
    collector = metric.kind(metric.name, metric.meaning, metric.labels, registry=registry)
    for value in metric.preset:  # a rate over a counter that is not there yet shows nothing
        collector.labels(value)
    return collector
