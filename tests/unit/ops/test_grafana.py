"""Dashboards: made from Python and current, well formed, and of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops.grafana import metrics_page
from ops.grafana.__main__ import made
from ops.grafana.boards_parts import BOARDS
from ops.grafana.json_files import FOLDER, document
from ops.grafana.panels import UNITS, WIDTH, Board, Panel
from ops.prometheus.records import RECORDS
from parallax.telemetry.histogram import Histogram
from parallax.telemetry.metrics import METRICS

DOCUMENTS = [document(board) for board in BOARDS]
SUFFIXES = ("_bucket", "_sum", "_count")
RECORDED = {record.name for record in RECORDS}
EXPORTED = {metric.name for metric in METRICS} | {
    metric.name + suffix
    for metric in METRICS
    if issubclass(metric.kind, Histogram)
    for suffix in SUFFIXES
}


def unknown(expr: str) -> set[str]:
    """Return the metrics in an expression that nobody exports or records."""
    return set(re.findall(r"parallax[_:][a-zA-Z0-9_:]+", expr)) - EXPORTED - RECORDED


def overlaps(panels: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return pairs of panels that cover the same place."""
    cells: dict[tuple[int, int], int] = {}
    found = []
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = cells.setdefault((x, y), panel["id"])
                if other != panel["id"]:
                    found.append((other, panel["id"]))
    return found


@pytest.mark.parametrize("path", made(), ids=lambda path: path.name)
def test_what_is_made_is_current(path: Path) -> None:
    assert path.read_text("utf-8") == made()[path], "make monitoring-files"


def test_there_is_no_dashboard_that_nobody_makes() -> None:
    assert {*(FOLDER / "dashboards").iterdir()} <= made().keys()


def test_the_page_tells_of_every_metric() -> None:
    text = metrics_page.PATH.read_text("utf-8")
    assert [metric.name for metric in METRICS if f"| `{metric.name}` |" not in text] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_metric_of_every_panel_exists(board: Board) -> None:
    wrong = {
        panel.title: unknown(query.expr)
        for panel in board.panels
        for query in panel.queries
        if unknown(query.expr)
    }
    assert wrong == {}


def test_a_planted_unknown_metric_is_found() -> None:
    assert unknown("sum(rate(parallax_jobs_total[5m])) / parallax_no_such_total") == {
        "parallax_no_such_total"
    }
    assert unknown("parallax:no_such:ratio") == {"parallax:no_such:ratio"}
    assert unknown("parallax_jobs_total_bucket") != set()


@pytest.mark.parametrize("panel", [p for b in BOARDS for p in b.panels], ids=lambda p: p.title)
def test_every_panel_says_what_it_shows(panel: Panel) -> None:
    assert re.fullmatch(r"[A-Z0-9].*\.", panel.about), panel.about
    assert panel.unit in UNITS
    for query in panel.queries:
        assert "rate(" not in query.expr or "[$__rate_interval]" in query.expr, query.expr
        assert panel.number or query.legend
        assert "{job=~" in query.expr or "parallax:" in query.expr, "it is not narrowed"


@pytest.mark.parametrize("board", DOCUMENTS, ids=lambda board: str(board["uid"]))
def test_a_dashboard_is_well_formed(board: dict[str, Any]) -> None:
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    assert overlaps(panels) == []
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs)
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names == ["datasource", "job", "instance", "tenant"]
    used = set(re.findall(r"\$([a-z]+)\b", json.dumps(board)))
    assert used <= {*names}
    assert board["links"][0]["tags"] == ["parallax"]


def test_planted_panels_on_each_other_are_found() -> None:
    place = {"x": 0, "y": 0, "w": 8, "h": 8}
    under = {"id": 1, "gridPos": place}
    beside = {"id": 2, "gridPos": {**place, "x": 8}}
    over = {"id": 3, "gridPos": {**place, "x": 7, "y": 7}}
    assert overlaps([under, beside]) == []
    assert set(overlaps([under, beside, over])) == {(1, 3), (2, 3)}


def test_dashboards_have_names_of_their_own() -> None:
    assert len({board.uid for board in BOARDS}) == len({b.title for b in BOARDS}) == len(BOARDS)
