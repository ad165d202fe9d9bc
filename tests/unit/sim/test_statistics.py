"""Percentiles, intervals, CDF points and bins: exact where they can be, true to their promise."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from statistics import stdev

import pytest

from parallax.core.quantiles import quantile
from parallax.sim.report.statistics import (
    binned,
    cdf,
    interval,
    jain,
    nice_width,
    percentile,
    student_t,
)


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 21)]
    found = [percentile(values, p) for p in (0, 5, 6, 50, 95, 96, 100)]
    assert found == [1.0, 1.0, 2.0, 10.0, 19.0, 20.0, 20.0]


def test_ranks_are_exact_where_floating_point_is_not() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in range(1, 101)] == values
    assert quantile(values, 0.07) == 8.0  # the control: 0.07 * 100 > 7


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_a_percentile_of_nothing_is_refused(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


# -- intervals


def covered(half_of: str, count: int = 3, rounds: int = 2_000) -> float:
    """Return how often the interval holds the true mean."""
    random = Random(11)
    hits = 0
    for _ in range(rounds):
        values = [random.gauss(5.0, 2.0) for _ in range(count)]
        found = interval(values)
        half = found.half if half_of == "t" else 1.96 * stdev(values) / count**0.5
        assert half is not None
        hits += abs(found.mean - 5.0) <= half
    return hits / rounds


@pytest.mark.dear
def test_the_interval_holds_the_true_mean_95_times_in_100() -> None:
    assert 0.935 <= covered("t") <= 0.965


@pytest.mark.dear
def test_a_normal_interval_of_three_seeds_is_the_control_that_does_not() -> None:
    assert covered("z") < 0.87


def test_one_seed_has_no_interval() -> None:
    assert interval([3.0]).half is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = interval([3.0, 3.0, 3.0])
    assert (found.mean, found.half, found.count) == (3.0, 0.0, 3)


def test_of_no_values_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="values"):
        interval([])


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (40, 2.021), (120, 1.980)])
def test_student_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert student_t(freedom) == pytest.approx(t, abs=6e-4)


def test_student_t_falls_towards_the_normal() -> None:
    assert all(a > b for a, b in pairwise(student_t(n) for n in range(1, 200)))
    assert student_t(10**6) == pytest.approx(1.96, abs=1e-3)


# -- distributions and time lines


def test_a_cdf_rises_from_the_least_to_all() -> None:
    random = Random(3)
    values = [random.expovariate(1.0) for _ in range(1_234)]
    points = cdf(values)
    assert points[0] == (min(values), 1 / 1_234)
    assert points[-1] == (max(values), 1.0)
    assert len(points) == 101
    for value, share in points:
        assert sum(other <= value for other in values) / 1_234 == pytest.approx(share)


def test_a_cdf_of_few_values_has_one_point_for_each() -> None:
    assert cdf([2.0, 1.0]) == [(1.0, 0.5), (2.0, 1.0)]
    assert cdf([]) == []


@pytest.mark.parametrize(
    ("span", "most", "width"), [(60.0, 60, 1.0), (61.0, 60, 2.0), (0.5, 10, 0.05), (900.0, 60, 20)]
)
def test_widths_are_round_and_few_enough(span: float, most: int, width: float) -> None:
    assert nice_width(span, most) == pytest.approx(width)


@pytest.mark.parametrize("span", [0.0, -1.0, float("nan"), float("inf")])
def test_a_span_that_cannot_be_is_refused(span: float) -> None:
    with pytest.raises(ValueError, match="span"):
        nice_width(span, 10)


def test_bins_hold_every_point_once() -> None:
    points = [(at / 7, 1.0) for at in range(100)]
    assert sum(value for _, value in binned(points, 2.0, 15.0, sum, 0.0)) == 100
    assert binned([(0.5, 3.0), (5.0, 4.0), (99.0, 5.0)], 2.0, 6.0, max) == [(0, 3), (4, 5)]


def test_jain_is_one_for_equals_and_1_in_n_for_one_who_has_all() -> None:
    assert jain([5.0] * 4) == pytest.approx(1.0)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([0.0, 0.0]) is None
    assert jain([]) is None
