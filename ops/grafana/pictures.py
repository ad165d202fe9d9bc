"""`make grafana-pictures`: every dashboard as one picture, from a real Prometheus under load.

The queries are those of the panels; only who draws is another: Grafana is not to be had here.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from math import isnan
from pathlib import Path
from typing import Any

from ops.grafana.asking import filled
from ops.grafana.boards_parts import BOARDS
from ops.grafana.json_files import ROOT, document
from ops.grafana.panels import Board, Panel
from ops.prometheus.live import Live
from ops.prometheus.server import Prometheus, missing
from parallax.core.clock import Clock
from parallax.services.clock import SystemClock
from parallax.sim.report.svg import Series, line_chart

IMAGES = ROOT / "docs" / "images"
#: Pixels of one of Grafana's units across and down, and between panels.
ACROSS, DOWN, GAP, HEAD = 48.0, 38.0, 8.0, 44.0
#: How long the load lasts that is drawn, the window of rates, and the time between points.
LOAD_S, WINDOW, STEP_S = 100.0, "10s", 2.0
#: Most lines of one panel; the legend says how many more there are.
MOST_LINES = 8
#: Unit -> how a number of it is written.
_WRITTEN = {"seconds": "{:.3g} s", "ratio": "{:.1%}", "bytes": "{:,.0f} B"}


def main() -> int:
    """Draw all; return the exit code."""
    if why := missing():
        sys.stderr.write(f"{why}\n")
        return 1
    clock = SystemClock()
    with (
        tempfile.TemporaryDirectory(prefix="parallax-pictures-") as folder,
        Live(Path(folder), clock) as live,
    ):
        began = _loaded(live, clock)
        for board in BOARDS:
            path = IMAGES / f"grafana-{board.uid.removeprefix('parallax-')}.svg"
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawn(board, live.prometheus, began, clock.now()), "utf-8")
            sys.stdout.write(f"{path}\n")
    return 0


def _loaded(live: Live, clock: Clock) -> float:
    """Let much happen for a while; return when it began."""
    began = clock.now()
    live.run("tenants", "set", "acme", "--weight", "2")
    live.run("canary", "start", "power_of_two", "--percent", "50", "--slo-ttft", "2",
             "--slo-tpot", "0.1")  # fmt: skip
    live.chat()
    load = live.load(110.0, LOAD_S)
    while load.poll() is None and clock.now() < began + 2 * LOAD_S:
        clock.wait(0.5)
    return began


def drawn(board: Board, prometheus: Prometheus, start: float, end: float) -> str:
    """Return one picture with all panels of a dashboard at their places."""
    panels = iter(board.panels)
    parts, bottom = list[str](), 0.0
    for placed in document(board)["panels"]:
        place = placed["gridPos"]
        x, y = place["x"] * ACROSS, HEAD + place["y"] * DOWN
        width, height = place["w"] * ACROSS - GAP, place["h"] * DOWN - GAP
        if placed["type"] == "row":
            parts.append(_heading(placed["title"], x, y))
        else:
            parts.append(_panel(next(panels), prometheus, (start, end), (x, y, width, height)))
        bottom = max(bottom, y + height + GAP)
    whole = 24 * ACROSS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {bottom:g}" '
        f'width="{whole:g}" height="{bottom:g}" role="img" font-family="sans-serif">'
        f"<title>{escape(board.title)}: {escape(board.about)}</title>"
        f'<rect width="{whole:g}" height="{bottom:g}" fill="#f4f5f7"/>'
        f'<text x="8" y="28" font-size="20" font-weight="bold">{escape(board.title)}</text>'
        f'<text x="{whole - 12:g}" y="28" font-size="13" text-anchor="end" fill="#555">'
        f"{escape(board.about)}</text>{''.join(parts)}</svg>\n"
    )


def _heading(title: str, x: float, y: float) -> str:
    return (
        f'<text x="{x + 8:g}" y="{y + 22:g}" font-size="15" font-weight="bold" fill="#333">'
        f"{escape(title)}</text>"
    )


def _panel(
    panel: Panel,
    prometheus: Prometheus,
    span: tuple[float, float],
    place: tuple[float, float, float, float],
) -> str:
    x, y, width, height = place
    card = (
        f'<rect x="{x + 4:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="#fff" '
        'stroke="#dcdfe4"/>'
    )
    if panel.number:
        return card + _number(panel, prometheus, place)
    chart = line_chart(panel.title, "seconds", panel.unit, _series(panel, prometheus, span))
    head = f'<svg x="{x + 8:g}" y="{y + 4:g}" width="{width - 8:g}" height="{height - 8:g}" '
    chart = re.sub(r'width="\d+" height="\d+" ', "", chart, count=1)
    return card + chart.replace("<svg ", head, 1)


def _number(panel: Panel, prometheus: Prometheus, place: tuple[float, float, float, float]) -> str:
    x, y, width, height = place
    found = prometheus.query(filled(panel.queries[0].expr, WINDOW))
    shown = _written(panel, float(found[0]["value"][1])) if found else "-"
    middle = x + width / 2
    return (
        f'<text x="{x + 14:g}" y="{y + 22:g}" font-size="12" font-weight="bold">'
        f"{escape(panel.title)}</text>"
        f'<text x="{middle:g}" y="{y + height * 0.72:g}" font-size="34" text-anchor="middle" '
        f'fill="#0072b2">{escape(shown)}</text>'
    )


def _written(panel: Panel, value: float) -> str:
    if panel.unit == "yes":
        return "yes" if value else "no"
    return _WRITTEN.get(panel.unit, "{:,.4g}").format(value)


def _series(panel: Panel, prometheus: Prometheus, span: tuple[float, float]) -> list[Series]:
    start, end = span
    found = [
        Series(_named(query.legend, one["metric"]), list(_points(one["values"], start)))
        for query in panel.queries
        for one in prometheus.over(filled(query.expr, WINDOW), start, end, STEP_S)
    ]
    found.sort(key=lambda one: -max((value for _, value in one.points), default=0.0))
    if len(found) > MOST_LINES:
        more = len(found) - MOST_LINES
        found = [*found[:MOST_LINES], Series(f"... and {more} more", [])]
    return found


def _points(values: Sequence[Sequence[Any]], start: float) -> Iterator[tuple[float, float]]:
    for at, text in values:
        if not isnan(float(text)):
            yield round(float(at) - start, 1), float(text)


def _named(legend: str, labels: dict[str, str]) -> str:
    """Return a legend with the values of labels in the place of their names."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend) or "value"


if __name__ == "__main__":
    sys.exit(main())
