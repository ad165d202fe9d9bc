"""Hedging policies: the timer, the budget, and who is cancelled when."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.policies.hedging.budget import Budget
from parallax.policies.hedging.never import NeverHedge
from parallax.policies.hedging.percentile import PercentileHedge
from parallax.policies.hedging.tied import TiedHedge
from parallax.policies.testing import job
from tests.examples import examples


def test_never_is_never() -> None:
    policy = NeverHedge()
    policy.observe(1.0, 1.0)
    assert policy.arm(job(), 1.0) is None
    assert not policy.allow(0.0)
    assert not policy.cancels_at_start()


def test_the_timer_is_the_percentile_of_what_was_measured_over_what_was_predicted() -> None:
    policy = PercentileHedge(min_samples=100, window=100)
    for n in range(1, 101):
        assert policy.arm(job(), 10.0) is None
        policy.observe(10.0, n / 10)  # ratios 0.01 to 1
    assert policy.arm(job(), 10.0) == pytest.approx(9.6)
    assert policy.arm(job(), 20.0) == pytest.approx(19.2)
    assert policy.arm(job(), 1e-6) == policy.min_delay_s


def test_without_a_prediction_nothing_is_armed() -> None:
    policy = PercentileHedge(min_samples=1)
    policy.observe(1.0, 1.0)
    assert policy.arm(job(), 0.0) is None


def test_nothing_starts_when_the_fleet_is_full() -> None:
    policy = PercentileHedge(budget=1.0)
    policy.arm(job(), 1.0)
    assert not policy.allow(1.0)
    assert policy.allow(0.99)


@given(
    share=st.floats(0.0, 0.5), cap=st.floats(1.0, 10.0), tries=st.integers(0, 4),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=examples(60), deadline=None)
def test_hedges_stay_below_the_share_and_the_cap_on_every_prefix(
    share: float, cap: float, tries: int, seed: int
) -> None:
    budget, random, hedges = Budget(share, cap, 0.8), Random(seed), 0
    for attempts in range(1, 300):
        budget.deposit()
        for _ in range(tries):
            hedges += budget.spend(random.random())
        assert hedges <= share * attempts + cap + 1e-9
        assert 0.0 <= budget.saved <= cap


def test_a_budget_with_a_floor_would_break_the_bound() -> None:
    """The control: ten free hedges now and then."""
    budget, hedges = Budget(0.01, 5.0, 0.8), 0
    for attempts in range(1, 300):
        budget.deposit()
        if attempts % 20 == 0:
            budget.saved += 10.0
        while budget.spend(0.0):
            hedges += 1
    assert hedges > 0.01 * 300 + 5.0


def test_tied_attempts_start_together_and_end_at_the_first_token() -> None:
    policy = TiedHedge(delay_s=0.003, budget=1.0)
    assert policy.arm(job(), 5.0) == 0.003
    assert policy.allow(0.5)
    assert policy.cancels_at_start()
