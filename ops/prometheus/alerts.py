"""The alerts, each with what makes it fire and what does not: the files and their test follow.

`value` is the measured expression and `wrong` its bad range: so a test can ask a healthy system for
the value, although the alert itself is silent there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: A series, and its samples from minute 0 on in promtool's notation.
Samples = tuple[tuple[str, str], ...]

RUNBOOK = "https://github.com/parallax-lb/parallax/blob/main/docs/runbook.md"
#: Share of jobs that may miss an objective, and how many times faster it may be used up.
BUDGET, FAST, SLOW = 0.01, 14.4, 6.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. `labels` are those it has in the case in which it fires, at minute `at`."""

    name: str
    value: str
    wrong: str
    lasts: str
    severity: str
    summary: str
    fires: Samples
    silent: Samples
    labels: Mapping[str, str] = field(default_factory=dict)
    at: int = 20

    @property
    def expr(self) -> str:
        """The expression as Prometheus evaluates it."""
        return f"({self.value}) {self.wrong}"

    @property
    def anchor(self) -> str:
        """The section of the runbook."""
        return self.name.lower()


def steady(value: float) -> str:
    """Return samples of a value that stays, for an hour."""
    return f"{value:g}x60"


def rising(step: float) -> str:
    """Return samples of a counter that rises by so much a minute, for an hour."""
    return f"0+{step:g}x60"


def _cell(name: str, value: str, labels: str = "") -> tuple[str, str]:
    more = f",{labels}" if labels else ""
    return f'parallax_{name}{{cell="main"{more}}}', value


def _burn(windows: tuple[str, str]) -> str:
    """Return the smaller of the shares of misses in two windows: both must be too large."""
    long, short = (f"parallax:slo_missed:ratio_rate{window}" for window in windows)
    return f"min without (window) ({long} < {short} or {short})"


_E2E = 'objective="e2e",tenant="acme"'
_MAIN = {"cell": "main"}
_WORKER = 'job="parallax-worker",instance="w:1"'

ALERTS: Sequence[Alert] = (
    Alert(
        "ParallaxTargetDown", 'up{job=~"parallax-.*"}', "== 0", "2m", "warning",
        "Prometheus cannot scrape {{ $labels.job }} at {{ $labels.instance }}.",
        ((f"up{{{_WORKER}}}", steady(0)),), ((f"up{{{_WORKER}}}", steady(1)),),
        {"job": "parallax-worker", "instance": "w:1"},
    ),
    Alert(
        "ParallaxCellUnreadable", "max by (cell) (parallax_cell_up)", "== 0", "1m", "critical",
        "The exporter cannot read cell {{ $labels.cell }} in Redis.",
        (_cell("cell_up", steady(0)),), (_cell("cell_up", steady(1)),), _MAIN,
    ),
    Alert(
        "ParallaxNoLeader", "max by (cell) (parallax_cell_leader)", "== 0", "30s", "critical",
        "Nobody leads cell {{ $labels.cell }}: nothing is dispatched.",
        (_cell("cell_leader", steady(0)),), (_cell("cell_leader", steady(1)),), _MAIN,
    ),
    Alert(
        "ParallaxNoLiveWorker", 'max by (cell) (parallax_cell_workers{state="alive"})', "== 0",
        "1m", "critical", "No worker of cell {{ $labels.cell }} is alive and ready.",
        (_cell("cell_workers", steady(0), 'state="alive"'),),
        (_cell("cell_workers", steady(1), 'state="alive"'),
         _cell("cell_workers", steady(0), 'state="dead"')),
        _MAIN,
    ),
    Alert(
        "ParallaxQueueAge", "max by (cell, tenant) (parallax_cell_oldest_age_seconds)", "> 120",
        "2m", "warning", "The oldest job of {{ $labels.tenant }} waits for more than two minutes.",
        (_cell("cell_oldest_age_seconds", steady(200), 'tenant="acme"'),),
        (_cell("cell_oldest_age_seconds", steady(20), 'tenant="acme"'),),
        {"cell": "main", "tenant": "acme"},
    ),
    Alert(
        "ParallaxSloBurnFast", _burn(("1h", "5m")), f"> {FAST * BUDGET:g}", "2m", "critical",
        "The error budget of {{ $labels.objective }} will be gone within two days.",
        (_cell("slo_missed_total", rising(30), _E2E), _cell("slo_met_total", rising(70), _E2E)),
        (_cell("slo_missed_total", rising(1), _E2E), _cell("slo_met_total", rising(999), _E2E)),
        {"cell": "main", "objective": "e2e"}, 58,
    ),
    Alert(
        "ParallaxSloBurnSlow", _burn(("6h", "30m")), f"> {SLOW * BUDGET:g}", "15m", "warning",
        "The error budget of {{ $labels.objective }} will be gone within five days.",
        (_cell("slo_missed_total", rising(10), _E2E), _cell("slo_met_total", rising(90), _E2E)),
        (_cell("slo_missed_total", rising(1), _E2E), _cell("slo_met_total", rising(999), _E2E)),
        {"cell": "main", "objective": "e2e"}, 58,
    ),
    Alert(
        "ParallaxKvFull", "max by (cell, worker) (parallax_cell_worker_kv_ratio)", "> 0.9", "5m",
        "warning", "The KV memory of {{ $labels.worker }} has been more than 90 % full.",
        (_cell("cell_worker_kv_ratio", steady(0.95), 'worker="w1"'),),
        (_cell("cell_worker_kv_ratio", steady(0.85), 'worker="w1"'),),
        {"cell": "main", "worker": "w1"},
    ),
    Alert(
        "ParallaxDeadLetters", "max by (cell) (delta(parallax_cell_dead_letters[15m]))", "> 0",
        "0s", "warning", "Dead letters have come in cell {{ $labels.cell }}.",
        (_cell("cell_dead_letters", rising(1)),), (_cell("cell_dead_letters", steady(7)),), _MAIN,
    ),
    Alert(
        "ParallaxHedgeBudgetExhausted",
        "sum by (cell) (rate(parallax_hedges_refused_total[10m]))",
        '> sum by (cell) (rate(parallax_rescues_total{kind="hedge"}[10m]))', "10m", "warning",
        "More second attempts are refused than sent in cell {{ $labels.cell }}.",
        (_cell("hedges_refused_total", rising(60)),
         _cell("rescues_total", rising(6), 'kind="hedge"')),
        (_cell("hedges_refused_total", rising(6)),
         _cell("rescues_total", rising(60), 'kind="hedge"')),
        _MAIN, 30,
    ),
    Alert(
        "ParallaxRedisMemory",
        "max by (cell) (parallax_redis_memory_bytes / "
        "clamp_min(parallax_redis_memory_limit_bytes, 1) "
        "* (parallax_redis_memory_limit_bytes > bool 0))", "> 0.8", "5m", "warning",
        "Redis of cell {{ $labels.cell }} uses more than 80 % of the memory that it may.",
        (_cell("redis_memory_bytes", steady(900)), _cell("redis_memory_limit_bytes", steady(1000))),
        (_cell("redis_memory_bytes", steady(900)), _cell("redis_memory_limit_bytes", steady(0))),
        _MAIN,
    ),
    Alert(
        "ParallaxRedisDisk", "min by (cell) (parallax_redis_disk_ok)", "== 0", "1m", "critical",
        "Redis of cell {{ $labels.cell }} cannot write to its disk.",
        (_cell("redis_disk_ok", steady(0)),), (_cell("redis_disk_ok", steady(1)),), _MAIN,
    ),
    Alert(
        "ParallaxHeartbeatStale", "max by (cell, worker) (parallax_cell_heartbeat_age_seconds)",
        "> 5", "30s", "warning", "The last heartbeat of {{ $labels.worker }} is too old.",
        (_cell("cell_heartbeat_age_seconds", steady(8), 'worker="w1"'),),
        (_cell("cell_heartbeat_age_seconds", steady(2), 'worker="w1"'),),
        {"cell": "main", "worker": "w1"},
    ),
    Alert(
        "ParallaxWorkerWedged",
        "sum by (job, instance) (rate(parallax_worker_attempts_total[10m]))",
        "== 0 and sum by (job, instance) (min_over_time(parallax_worker_running[10m])) > 0",
        "5m", "critical", "{{ $labels.instance }} has work and has ended none for ten minutes.",
        ((f'parallax_worker_attempts_total{{{_WORKER},result="completed"}}', steady(9)),
         (f"parallax_worker_running{{{_WORKER}}}", steady(4))),
        ((f'parallax_worker_attempts_total{{{_WORKER},result="completed"}}', rising(1)),
         (f"parallax_worker_running{{{_WORKER}}}", steady(4))),
        {"job": "parallax-worker", "instance": "w:1"}, 30,
    ),
    Alert(
        "ParallaxUnfair", "parallax:fairness_jain:ratio_rate5m", "< 0.8", "15m", "warning",
        "Tenants of cell {{ $labels.cell }} that wait are not served by their weights.",
        (_cell("served_cost_total", rising(1000), 'tenant="acme"'),
         _cell("served_cost_total", rising(10), 'tenant="bob"'),
         *(_cell(name, steady(value), f'tenant="{tenant}"')
           for tenant in ("acme", "bob")
           for name, value in (("cell_weight", 1), ("cell_queue_depth", 50)))),
        (_cell("served_cost_total", rising(1000), 'tenant="acme"'),
         _cell("served_cost_total", rising(10), 'tenant="bob"'),
         *(_cell("cell_weight", steady(1), f'tenant="{tenant}"') for tenant in ("acme", "bob")),
         _cell("cell_queue_depth", steady(50), 'tenant="acme"'),
         _cell("cell_queue_depth", steady(0), 'tenant="bob"')),  # it got all that it asked for
        _MAIN, 40,
    ),
    Alert(
        "ParallaxGatewayErrors",
        'sum by (cell) (rate(parallax_gateway_requests_total{result=~"5.."}[5m])) '
        "/ sum by (cell) (rate(parallax_gateway_requests_total[5m])) "
        "or 0 * sum by (cell) (rate(parallax_gateway_requests_total[5m]))", "> 0.05", "5m",
        "warning", "More than 5 % of the requests to gateways of cell {{ $labels.cell }} fail.",
        (_cell("gateway_requests_total", rising(10), 'kind="chat",result="503"'),
         _cell("gateway_requests_total", rising(90), 'kind="chat",result="200"')),
        (_cell("gateway_requests_total", rising(10), 'kind="chat",result="429"'),
         _cell("gateway_requests_total", rising(90), 'kind="chat",result="200"')),
        _MAIN,
    ),
)  # fmt: skip
