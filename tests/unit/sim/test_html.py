"""The report stands alone: no scripts, nothing from elsewhere, and foreign text stays text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import pytest

from parallax.core.settings import PolicyChoice
from parallax.sim.outcome import Run
from parallax.sim.report.html import page, with_interval
from parallax.sim.report.record import Record
from parallax.sim.report.statistics import Interval
from parallax.sim.report.svg import Series, bar_chart, cdf_chart, line_chart
from parallax.sim.report.variants import best, by_workload, variants
from tests.unit.sim.runs import SPEC, done, lost, record_of, run_of

EVIL = "<script>alert('x')</script>\"&"


def seeded(
    ttfts: Sequence[float], routing: str = "least_loaded", rate: float = 1.0
) -> list[Record]:
    """Return a record for each seed, whose jobs have that time to the first token."""
    policies = replace(SPEC.policies, routing=PolicyChoice(routing))
    workload = replace(SPEC.workload, rate_scale=rate)
    return [record_of(seed_run(ttft, seed, policies, workload)) for seed, ttft in enumerate(ttfts)]


def seed_run(ttft: float, seed: int, policies: object, workload: object) -> Run:
    spec = replace(SPEC, seed=seed, policies=policies, workload=workload)  # type: ignore[arg-type]
    return run_of(*(done(n, ttft_s=ttft) for n in range(3)), spec=spec)


class Outline(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "path", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PAGE = page([*seeded([0.2, 0.3]), *seeded([0.4, 0.5], "round_robin")], "parallax report cells")


def test_a_page_is_well_formed_and_loads_nothing() -> None:
    outline = Outline(PAGE)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name in ("src", "href", "onload")]
    assert re.findall(r"https?://[^\"\s]+", PAGE.replace("http://www.w3.org/2000/svg", "")) == []


def test_the_same_runs_give_the_same_bytes() -> None:
    again = page([*seeded([0.2, 0.3]), *seeded([0.4, 0.5], "round_robin")], "parallax report cells")
    assert again == PAGE
    assert page(seeded([0.2]), "parallax report cells") != PAGE


def test_everything_that_was_asked_for_is_on_it() -> None:
    for text in (
        "Figures", "Distributions", "Time lines", "Tenants", "Provenance", "acme", "ttft_ms_p95",
        "routing=least_loaded", "routing=round_robin", "w0000 crashes", "ab" * 32, "cd" * 32,
        "parallax report cells", "250 ± 635.3",
    ):  # fmt: skip
        assert text in PAGE, text


def test_foreign_text_stays_text() -> None:
    run = run_of(done(0, tenant=EVIL), lost(1, "failed", EVIL), notes=[EVIL])
    run.spec = {**run.spec, "workload": {"path": EVIL}}
    run.counters[EVIL] = 1.0
    records = [record_of(run), *seeded([0.1])]
    text = page(records, EVIL)
    assert "<script>alert" not in text
    assert "script" not in Outline(text).tags
    assert "&lt;script&gt;" in text


def test_a_run_in_which_nothing_completed_has_a_report() -> None:
    text = page([record_of(run_of(lost(0, "rejected"), samples=[], duration_s=0.0))])
    assert Outline(text).open == []
    assert not re.search(r"\bnan\b", text)


# -- variants


def test_runs_that_differ_in_their_seed_are_one_variant_and_doubles_count_once() -> None:
    records = [*seeded([0.2, 0.4]), *seeded([0.2])]
    (found,) = variants(records)
    assert found.seeds == [0, 1]
    value = found.interval("ttft_ms_mean")
    assert value is not None
    assert value.mean == pytest.approx(300.0)


def test_a_variant_is_named_after_what_tells_it_apart() -> None:
    found = variants([*seeded([0.2]), *seeded([0.2], "round_robin"), *seeded([0.2], rate=2.0)])
    assert [variant.name for variant in found] == [
        "rate_scale=1.0, routing=least_loaded",
        "rate_scale=1.0, routing=round_robin",
        "rate_scale=2.0, routing=least_loaded",
    ]
    assert [len(group) for group in by_workload(found)] == [2, 1]


def test_the_best_is_what_the_seeds_tell_apart() -> None:
    clear = variants([*seeded([0.20, 0.30, 0.40]), *seeded([0.25, 0.35, 0.45], "round_robin")])
    assert best("ttft_ms_mean", clear) == {"routing=least_loaded"}  # 50 ms in every seed
    noisy = variants([*seeded([0.20, 0.30, 0.40]), *seeded([0.45, 0.35, 0.25], "round_robin")])
    assert len(best("ttft_ms_mean", noisy)) == 2


def test_more_throughput_is_better_and_more_dispatches_are_neither() -> None:
    found = variants([*seeded([0.2]), *seeded([1.2], "round_robin")])
    assert best("goodput", found) == {"routing=least_loaded"}
    assert best("dispatches", found) == set()


# -- charts


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  (we wrote it)


def numbers_of(svg: str) -> list[float]:
    paths = [node.attrib["d"] for node in parsed(svg).iter() if "d" in node.attrib]
    return [float(word) for path in paths for word in re.findall(r"-?\d+\.?\d*", path)]


@pytest.mark.parametrize(
    "points", [[], [(0.0, 0.0)], [(1.0, 5.0), (2.0, -3.0)], [(1e9, 1e-9)], [(0.0, nan), (1.0, 2.0)]]
)
def test_a_chart_of_any_points_is_whole_and_within_its_frame(
    points: list[tuple[float, float]],
) -> None:
    svg = line_chart(EVIL, EVIL, EVIL, [Series(EVIL, points)])
    root = parsed(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(-30 <= number <= max(width, height) for number in numbers_of(svg))
    assert "nan" not in svg


def test_a_cdf_climbs_in_steps_from_the_foot_to_the_top() -> None:
    svg = cdf_chart("t", "ms", [Series("a", [(1.0, 0.5), (2.0, 1.0)])])
    (path,) = re.findall(r'd="(M[^"]*H[^"]*)" fill="none" stroke-width', svg)
    heights = [float(y) for y in re.findall(r"V([\d.]+)", path)]
    assert len(heights) == 2
    assert heights[0] > heights[1]  # pixels grow downwards


def test_lines_are_told_apart_even_when_there_are_many() -> None:
    svg = line_chart("t", "x", "y", [Series(str(n), [(0.0, 1.0), (1.0, n)]) for n in range(28)])
    strokes = re.findall(r'stroke-width="1.8"([^/]*)/>', svg)
    assert len(set(strokes)) == 28


def test_bars_show_their_intervals_if_they_have_any() -> None:
    bars = [("a", Interval(0.5, 0.1, 3)), ("b", Interval(0.7, None, 1))]
    svg = bar_chart("t", "share", bars)
    assert svg.count("<rect") == 2
    assert svg.count('stroke-width="1.2"') == 1
    assert with_interval(bars[0][1]) == "0.5 ± 0.1"
    assert with_interval(None) == "-"
