"""`docs/metrics.md`: every metric, from the table in `parallax.telemetry.metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.telemetry.metrics import METRICS, Metric

PATH = Path(__file__).parents[2] / "docs" / "metrics.md"
_HEAD = """\
# Metrics

Every process serves its own on `--metrics-port` (`parallax up --metrics-port 9100` numbers them:
schedulers, workers, the gateway, and last the exporter of the whole cell).
[monitoring.md](monitoring.md) says how to look at them, [runbook.md](runbook.md) what to do.

This page is made from the table in `parallax/telemetry/metrics.py` by `make monitoring-files`; a
test holds that it is current.

No label is an id, a prompt, a session or a key: labels come from closed sets, and tenants and
workers are capped (50 and 500; further tenants are `other` together). Counters of errors and of
words from a closed set are there from the start, at 0.
"""
#: Whose metrics they are -> the heading, in the order shown.
_PROCESSES = {
    "any": "Every process",
    "scheduler": "Schedulers (the leader counts; a standby stays at 0)",
    "worker": "Workers",
    "gateway": "Gateways",
    "cell": "The whole cell (`parallax exporter`)",
    "autoscaler": "Autoscalers (`parallax autoscaler`)",
}


def files() -> dict[Path, str]:
    """Return the page and what must stand in it."""
    return {PATH: "\n".join([_HEAD, *_tables()])}


def _tables() -> Iterator[str]:
    others = sorted({metric.process for metric in METRICS} - _PROCESSES.keys())
    for process in (*_PROCESSES, *others):
        rows = [metric for metric in METRICS if metric.process == process]
        yield f"## {_PROCESSES.get(process, process.capitalize())}\n"
        yield "| metric | type | unit | labels | meaning |"
        yield "|---|---|---|---|---|"
        yield from (_row(metric) for metric in rows)
        yield ""
    yield "## Buckets\n"
    objectives = "`--slo-ttft`, `--slo-tpot`, `--slo-e2e`"
    yield f"Upper bounds; of the objectives ({objectives}) each is a bound, too.\n"
    yield "| histogram | bounds |"
    yield "|---|---|"
    for metric in METRICS:
        if metric.buckets:
            yield f"| `{metric.name}` | {' '.join(f'{bound:g}' for bound in metric.buckets)} |"
    yield ""


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    words = f" ({', '.join(f'`{word}`' for word in metric.preset)})" if metric.preset else ""
    meaning = metric.meaning.replace("|", "\\|")
    kind = metric.kind.__name__.lower()
    return f"| `{metric.name}` | {kind} | {metric.unit} | {labels}{words} | {meaning} |"
