"""Grafana's files, made from `boards`: dashboards as JSON, and what finds them and Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ops.grafana.boards_parts import BOARDS
from ops.grafana.panels import UNITS, WIDTH, Board, Panel, Row

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana"
#: The data source of the provisioning; dashboards let their reader choose another one.
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_DATASOURCES = """\
# Made by `make monitoring-files`. PROMETHEUS_URL says where Prometheus is.
apiVersion: 1
datasources:
  - name: Prometheus
    uid: parallax-prometheus
    type: prometheus
    access: proxy
    url: ${PROMETHEUS_URL}
    isDefault: true
    jsonData:
      timeInterval: 5s
      httpMethod: POST
"""
_PROVIDERS = """\
# Made by `make monitoring-files`. The dashboards are mounted at this path.
apiVersion: 1
providers:
  - name: Parallax
    folder: Parallax
    type: file
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: /etc/grafana/dashboards
"""


def files() -> dict[Path, str]:
    """Return every file that is made, and what must stand in it."""
    return {
        FOLDER / "provisioning" / "datasources" / "prometheus.yaml": _DATASOURCES,
        FOLDER / "provisioning" / "dashboards" / "parallax.yaml": _PROVIDERS,
        **{FOLDER / "dashboards" / f"{board.uid}.json": _text(board) for board in BOARDS},
    }


def _text(board: Board) -> str:
    return json.dumps(document(board), indent=2, ensure_ascii=False) + "\n"


def document(board: Board) -> dict[str, Any]:
    """Return a dashboard as Grafana 10.4 and later reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["parallax"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "links": [_link()],
        "templating": {"list": _variables()},
        "annotations": {"list": [_leaders()]},
        "panels": list(_placed(board.rows)),
    }


def _link() -> dict[str, Any]:
    """Return the menu of all dashboards, which keeps time and variables."""
    return {
        "type": "dashboards", "title": "Parallax", "tags": ["parallax"], "asDropdown": False,
        "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
        "tooltip": "", "url": "",
    }  # fmt: skip


def _leaders() -> dict[str, Any]:
    return {
        "name": "New leader", "datasource": SOURCE, "enable": True, "iconColor": "purple",
        "expr": "changes(parallax_cell_epoch[1m]) > 0", "titleFormat": "a new leader",
        "step": "60s",
    }  # fmt: skip


def _variables() -> list[dict[str, Any]]:
    source = {
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0,
    }  # fmt: skip
    return [
        source,
        _chosen("job", "Job", "label_values(parallax_build_info, job)"),
        _chosen("instance", "Instance",
                'label_values(parallax_build_info{job=~"$job"}, instance)'),
        _chosen("tenant", "Tenant", "label_values(parallax_cell_queue_depth, tenant)"),
    ]  # fmt: skip


def _chosen(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query,
        "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
        "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }  # fmt: skip


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield rows and panels with their places: from left to right, then on the next line."""
    number, top = 1, 0
    for row in rows:
        yield {
            "id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top},
        }  # fmt: skip
        number, top, left, tallest = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, number, place)
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": chr(ord("A") + n), "datasource": SOURCE, "expr": query.expr,
                "legendFormat": query.legend or "__auto", "range": not panel.number,
                "instant": panel.number, "editorMode": "code",
            }
            for n, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _number_options() if panel.number else _line_options(),
    }  # fmt: skip


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": UNITS[panel.unit], "noValue": "-"}
    if panel.number:
        found |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(panel)}
        return found
    found |= {"min": 0, "custom": {"lineWidth": 2, "fillOpacity": 8, "showPoints": "never",
                                   "spanNulls": 30_000}}  # fmt: skip
    if panel.most is not None:
        found["max"] = panel.most
    return found


def _thresholds(panel: Panel) -> dict[str, Any]:
    if panel.red is None:
        steps: list[dict[str, Any]] = [{"color": "blue", "value": None}]
    else:
        good, bad = ("red", "green") if panel.low_is_bad else ("green", "red")
        steps = [{"color": good, "value": None}, {"color": bad, "value": panel.red}]
    return {"mode": "absolute", "steps": steps}


def _number_options() -> dict[str, Any]:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value", "graphMode": "none", "textMode": "value", "justifyMode": "auto",
    }  # fmt: skip


def _line_options() -> dict[str, Any]:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
