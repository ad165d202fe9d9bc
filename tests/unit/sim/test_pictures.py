"""Pictures: one palette, whole SVG, charts of what was measured, foreign text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from parallax.sim.report.board import board
from parallax.sim.report.charts import against_load, every
from parallax.sim.report.palette import DARK, LIGHT, SERIES, resolved, sheet
from parallax.sim.report.record import Record
from parallax.sim.report.svg import Series, line_chart
from parallax.sim.report.variants import variants
from tests.unit.sim.runs import SPEC, done, record_of, run_of

TOKENS = Path(__file__).parents[3] / "ops/dashboard/styles/tokens.css"
EVIL = "<script>alert('x')</script>\"&"


def at_load(*rates: float) -> list[Record]:
    records = []
    for rate in rates:
        spec = replace(SPEC, workload=replace(SPEC.workload, rate_scale=rate))
        records.append(record_of(run_of(*(done(n) for n in range(3)), spec=spec)))
    return records


def titles(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)  # noqa: S314 - our own text
    return [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}title")]


def test_the_palette_is_that_of_the_dashboard() -> None:
    text = re.sub(r"/\*.*?\*/", "", TOKENS.read_text(), flags=re.DOTALL)
    for theme, palette in ("light", LIGHT), ("dark", DARK):
        block = text.partition(f'[data-theme="{theme}"] {{')[2].partition("}")[0]
        said = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
        assert palette == {name: said[name] for name in palette}
    assert set(LIGHT) == set(DARK)


def test_a_chart_alone_has_colours_and_a_themed_one_takes_those_of_its_page() -> None:
    line = [Series("a", [(0.0, 1.0), (1.0, 2.0)])]
    alone, themed = (line_chart("T", "x", "y", line, themed=own) for own in (False, True))
    assert "var(" not in alone
    assert SERIES[0] in themed
    assert resolved(themed) == alone
    for name in re.findall(r"var\(--([a-z0-9-]+)\)", themed):
        assert f"--{name}:{DARK[name]}" in sheet()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_board_is_one_whole_picture(count: int) -> None:
    chart = line_chart(EVIL, "x", "y", [Series(EVIL, [(0.0, 1.0)])])
    picture = board(EVIL, EVIL * 20, [chart] * count)
    assert titles(picture) == [EVIL] * (1 + count)
    assert "<script" not in picture
    assert "var(" not in picture
    assert picture == board(EVIL, EVIL * 20, [chart] * count)


def test_goodput_is_drawn_against_load_where_runs_differ_in_it() -> None:
    assert against_load(variants(at_load(1.0))) == []
    picture = board("T", "", every(variants(at_load(2.0, 0.5))))
    assert titles(picture).count("Goodput against load") == 2
    chart = against_load(variants(at_load(2.0, 0.5)))[0]
    assert len(re.findall("<circle", chart)) == 2
    (path,) = re.findall(r'<path d="(M[^"]*L[^"]*)"', chart)
    first, second = (float(x) for x in re.findall(r"[ML]([\d.]+)", path))
    assert first < second  # the smaller load is on the left, whatever came first
