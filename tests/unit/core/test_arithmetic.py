"""Cost, means, quantiles, arrivals: small laws of small functions."""

from __future__ import annotations

from itertools import islice
from math import exp
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.arrivals import gamma, poisson
from parallax.core.clock import ManualClock
from parallax.core.cost import TokenCost
from parallax.core.ewma import Ewma
from parallax.core.quantiles import quantile

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def test_an_output_token_costs_two_prompt_tokens() -> None:
    assert TokenCost()(100, 50) == 200.0
    assert TokenCost(1.0, 0.0)(100, 50) == 100.0


@given(value=st.floats(0.001, 1e6), gaps=st.lists(st.floats(0.0, 60.0), min_size=1, max_size=30))
def test_the_mean_of_a_constant_is_that_constant_from_the_first_sample(
    value: float, gaps: list[float]
) -> None:
    ewma, now = Ewma(), 0.0
    for gap in gaps:
        now += gap
        ewma.update(value, now)
        assert ewma.value == pytest.approx(value)


def test_a_plain_ema_that_starts_at_zero_is_the_control_that_is_biased() -> None:
    plain = 0.0
    for _ in range(3):
        plain += 0.2 * (100.0 - plain)
    assert plain < 50.0


def test_samples_fade_with_the_time_constant() -> None:
    ewma = Ewma(tau_s=10.0)
    ewma.update(0.0, 0.0)
    ewma.update(1.0, 10.0)
    assert ewma.value == pytest.approx(1.0 / (1.0 + exp(-1.0)))


def test_several_samples_at_one_instant_average() -> None:
    ewma = Ewma()
    for sample in (1.0, 2.0, 6.0):
        ewma.update(sample, 5.0)
    assert ewma.value == pytest.approx(3.0)
    assert Ewma().value is None


@given(values=NUMBERS, q=st.floats(0.0, 1.0))
def test_a_quantile_is_an_observed_value_that_enough_do_not_exceed(
    values: list[float], q: float
) -> None:
    found = quantile(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values)
    assert sum(v < found for v in values) <= q * len(values)


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0], 1.1), ([float("nan")], 0.5)])
def test_a_quantile_of_nothing_is_refused(values: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, q)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_arrivals_have_the_rate_and_the_variation_they_were_asked_for(cv: float) -> None:
    gaps = list(islice(gamma(20.0, cv, Random(1)), 40_000))
    assert mean(gaps) == pytest.approx(1 / 20, rel=0.05)
    assert stdev(gaps) / mean(gaps) == pytest.approx(cv, rel=0.05)


def test_poisson_gaps_are_exponential() -> None:
    gaps = list(islice(poisson(20.0, Random(1)), 40_000))
    assert mean(gaps) == pytest.approx(1 / 20, rel=0.03)
    assert sum(gap > 0.05 for gap in gaps) / len(gaps) == pytest.approx(exp(-1), rel=0.03)


def test_a_manual_clock_moves_only_when_told_and_never_back() -> None:
    clock = ManualClock(5.0)
    clock.wait(2.0)
    assert clock.now() == clock.monotonic() == 7.0
    with pytest.raises(ValueError, match="does not go back"):
        clock.wait(-1.0)
