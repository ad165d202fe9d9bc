"""Thresholds as people write them; a wrong one is refused with what would be right."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.report.figures import LATENCIES, NAMES, SHARES
from parallax.sim.report.thresholds import parse, seconds


@pytest.mark.parametrize(
    ("text", "figure", "comparison", "limit"),
    [
        ("ttft_p95<300ms", "ttft_ms_p95", "<", 300.0),
        ("ttft_p95<0.3s", "ttft_ms_p95", "<", 300.0),
        ("ttft_ms_p95<300", "ttft_ms_p95", "<", 300.0),
        ("tpot_mean <= 50000us", "tpot_ms_mean", "<=", 50.0),
        ("e2e_p99<1min", "e2e_ms_p99", "<", 60_000.0),
        ("goodput>=0.9", "goodput", ">=", 0.9),
        ("goodput>=90%", "goodput", ">=", 0.9),
        ("throughput_per_s>1e2", "throughput_per_s", ">", 100.0),
        ("duration_s<2min", "duration_s", "<", 120.0),
        ("preemptions<=0", "preemptions", "<=", 0.0),
    ],
)
def test_a_threshold_is_read(text: str, figure: str, comparison: str, limit: float) -> None:
    found = parse(text)
    assert (found.figure, found.comparison) == (figure, comparison)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_can_be_asked_for(name: str) -> None:
    unit = "ms" if name.startswith(LATENCIES) else ""
    assert parse(f"{name}<5{unit}").figure == name


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("ttft_p95<300", "needs one of the units us, ms, s, min"),
        ("ttft_p95<300%", "needs one of the units"),
        ("ttft_p95<300parsec", "needs one of the units"),
        ("goodput>=90ms", "a number or %"),
        ("retries<5%", "bare number"),
        ("ttft_p42<300ms", "ttft|tpot|e2e|queue_mean"),
        ("speed>1", "goodput"),
        ("ttft_p95", "write NAME<NUMBER"),
        ("ttft_p95=300ms", "write NAME<NUMBER"),
        ("goodput>nan", "write NAME<NUMBER"),
        ("goodput>-1", "write NAME<NUMBER"),
        ("", "write NAME<NUMBER"),
    ],
)
def test_a_wrong_one_is_refused_with_what_is_right(text: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("comparison", "met"),
    [("<", [True, False, False]), ("<=", [True, True, False]),
     (">", [False, False, True]), (">=", [False, True, True])],
)  # fmt: skip
def test_below_at_and_above_the_limit(comparison: str, met: list[bool]) -> None:
    threshold = parse(f"goodput{comparison}0.5")
    assert [threshold.met({"goodput": value}) for value in (0.4, 0.5, 0.6)] == met


def test_what_was_not_measured_reaches_nothing() -> None:
    for text in ("ttft_p95<300ms", "goodput>=0"):
        assert not parse(text).met({"ttft_ms_p95": None})
        assert "not measured" in parse(text).verdict({})


def test_the_verdict_names_what_was_asked_and_what_came() -> None:
    verdict = parse("ttft_p95<300ms").verdict({"ttft_ms_p95": 331.5})
    assert verdict == "MISSED: ttft_p95<300ms (ttft_ms_p95 = 331.5)"


@pytest.mark.parametrize(("text", "value"), [("300ms", 0.3), (" 1.5 s", 1.5), ("2min", 120.0)])
def test_durations_have_units(text: str, value: float) -> None:
    assert seconds("--slo-ttft", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["300", "ms", "-1s", "nan s", "1h", ""])
def test_a_duration_that_cannot_be_is_refused_by_the_option(text: str) -> None:
    with pytest.raises(InvalidInput, match="--slo-ttft"):
        seconds("--slo-ttft", text)


def test_shares_are_figures() -> None:
    assert set(SHARES) <= set(NAMES)
