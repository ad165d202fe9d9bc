"""The files that Prometheus and promtool read, made from `records` and `alerts`.

Strings are written as JSON writes them, which YAML reads: nothing has to be escaped by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ops.prometheus.alerts import ALERTS, RUNBOOK, Alert, Samples
from ops.prometheus.records import RECORDS

HERE = Path(__file__).parent
_MADE = "# Made by `make monitoring-files`; a test holds that it is current."


def files() -> dict[Path, str]:
    """Return every file that is made, and what must stand in it."""
    return {
        HERE / "rules" / "records.yml": _lines(_records()),
        HERE / "rules" / "alerts.yml": _lines(_alerts()),
        HERE / "rules" / "alerts_test.yml": _lines(_tests()),
    }


def _lines(lines: Iterator[str]) -> str:
    return "\n".join([_MADE, *lines]) + "\n"


def _records() -> Iterator[str]:
    yield from ("groups:", "  - name: parallax-records", "    rules:")
    for record in RECORDS:
        yield f"      - record: {record.name}"
        yield f"        expr: {json.dumps(record.expr)}"


def _alerts() -> Iterator[str]:
    yield from ("groups:", "  - name: parallax-alerts", "    rules:")
    for alert in ALERTS:
        yield f"      - alert: {alert.name}"
        yield f"        expr: {json.dumps(alert.expr)}"
        yield f"        for: {alert.lasts}"
        yield f"        labels: {{severity: {alert.severity}}}"
        yield "        annotations:"
        yield f"          summary: {json.dumps(alert.summary)}"
        yield f"          runbook_url: {json.dumps(_runbook(alert))}"


def _tests() -> Iterator[str]:
    yield from ("rule_files: [records.yml, alerts.yml]", "evaluation_interval: 1m", "tests:")
    for alert in ALERTS:
        yield from _case(alert, alert.fires, fires=True)
        yield from _case(alert, alert.silent, fires=False)


def _case(alert: Alert, series: Samples, *, fires: bool) -> Iterator[str]:
    yield f"  - name: {alert.name} {'fires' if fires else 'is silent'}"
    yield "    interval: 1m"
    yield "    input_series:"
    for name, values in series:
        yield f"      - series: {json.dumps(name)}"
        yield f"        values: {json.dumps(values)}"
    yield "    alert_rule_test:"
    yield f"      - eval_time: {alert.at}m"
    yield f"        alertname: {alert.name}"
    if not fires:
        yield "        exp_alerts: []"
        return
    labels = {"severity": alert.severity, **alert.labels}
    yield "        exp_alerts:"
    yield f"          - exp_labels: {json.dumps(labels)}"
    summary = alert.summary
    for label, value in alert.labels.items():
        summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
    told = {"summary": summary, "runbook_url": _runbook(alert)}
    yield f"            exp_annotations: {json.dumps(told)}"


def _runbook(alert: Alert) -> str:
    return f"{RUNBOOK}#{alert.anchor}"


def write(made: dict[Path, str]) -> Sequence[Path]:
    """Write files; return those that were not as they are now."""
    changed = []
    for path, text in made.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed
