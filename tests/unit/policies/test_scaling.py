"""Scaling policies: how many workers, how fast, and how steadily."""

from __future__ import annotations

from math import inf, sqrt
from random import Random

import pytest

from parallax.core.model import LoadView
from parallax.policies.interfaces import ScalingPolicy
from parallax.policies.scaling.hpa import Hpa
from parallax.policies.scaling.sqrt_staffing import SqrtStaffing
from parallax.policies.scaling.stabilised import Stabilised


def load(
    erlangs: float, workers: int, burst: float | None = None, backlog: float = 0.0
) -> LoadView:
    """A load of so many workers' worth, each serving 1,000 cost units a second."""
    burst = erlangs if burst is None else burst
    return LoadView(erlangs * 1_000, burst * 1_000, backlog, workers, workers, 1_000.0)


def test_square_root_staffing_adds_a_margin_of_the_root() -> None:
    policy = SqrtStaffing(beta=1.5, fewest=1)
    assert policy.desired(load(16.0, 16), 0.0) == 22
    assert SqrtStaffing(beta=1.5).desired(load(64.0, 64), 0.0) == 76
    assert SqrtStaffing(beta=0.0).desired(load(64.0, 40, backlog=600_000.0), 0.0) == 74


def test_the_hpa_asks_for_load_over_target_within_its_tolerance() -> None:
    assert Hpa(target=0.5).desired(load(10.0, 15), 0.0) == 20
    assert Hpa(target=0.5).desired(load(10.0, 19), 0.0) == 19  # 5 % off


@pytest.mark.parametrize("policy", [Hpa(), SqrtStaffing()])
def test_up_goes_at_most_to_twice_as_many_or_four_more(policy: ScalingPolicy) -> None:
    assert policy.desired(load(500.0, 2), 0.0) == 6
    assert policy.desired(load(500.0, 10), 15.0) == 20


def test_down_goes_only_to_the_highest_wish_of_the_window() -> None:
    steady = Stabilised(300.0, 1, 100)
    assert steady.limited(10, 8, 0.0) == 10
    assert steady.limited(4, 10, 100.0) == 10
    assert steady.limited(6, 10, 200.0) == 10
    assert steady.limited(3, 10, 301.0) == 6
    assert steady.limited(3, 6, 600.0) == 3


def test_wishes_are_forgotten() -> None:
    steady, random = Stabilised(300.0, 1, 1_000), Random(1)
    for n in range(20_000):
        steady.limited(random.randint(1, 100), 50, n * 1.0)
    assert len(steady._wishes) <= 301


def test_a_burst_counts_at_once_and_holds_for_a_minute() -> None:
    policy = SqrtStaffing(stable_s=0.0)
    assert policy.desired(load(10.0, 15, burst=30.0), 0.0) == 30
    assert policy.desired(load(10.0, 30), 30.0) == 30
    assert policy.desired(load(10.0, 30), 61.0) < 30


def erlang_c(servers: int, erlangs: float) -> float:
    """The probability that a job must wait, by the recursion of Erlang B."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = erlangs * blocked / (n + erlangs * blocked)
    return blocked / (1 - erlangs / servers * (1 - blocked))


@pytest.mark.parametrize("erlangs", [16.0, 64.0, 256.0])
def test_the_probability_of_waiting_does_not_depend_on_the_size(erlangs: float) -> None:
    servers = SqrtStaffing(beta=1.5, tolerance=0.0).desired(load(erlangs, int(erlangs)), 0.0)
    assert 0.05 <= erlang_c(servers, erlangs) <= 0.15


def test_a_fixed_utilisation_does_depend_on_the_size() -> None:
    """The control."""
    waits = [
        erlang_c(Hpa(target=0.8, tolerance=0.0).desired(load(e, int(e)), 0.0), e)
        for e in (16.0, 256.0)
    ]
    assert waits[0] > 0.15
    assert waits[1] < 0.001


def actions_in_an_hour(policy: ScalingPolicy, erlangs: float, seed: int) -> int:
    """Count changes of size under Poisson load that is measured over a minute."""
    random, workers, changes = Random(seed), 2, 0
    for tick in range(20 + 240):
        arrivals = random.gauss(erlangs * 60, sqrt(erlangs * 60)) / 60
        burst = random.gauss(erlangs * 6, sqrt(erlangs * 6)) / 6
        wanted = policy.desired(load(arrivals, workers, burst), tick * 15.0)
        changes += wanted != workers and tick >= 20
        workers = wanted
    return changes


class Naive:
    """The control: what the load of the moment needs, at once."""

    def desired(self, load: LoadView, now: float) -> int:
        return max(1, round(load.burst_cost_per_s / load.cost_per_worker_s / 0.7))


@pytest.mark.parametrize("erlangs", [8.0, 16.0, 64.0])
def test_constant_load_leaves_the_fleet_alone(erlangs: float) -> None:
    for seed in range(5):
        assert actions_in_an_hour(SqrtStaffing(), erlangs, seed) <= 2
        assert actions_in_an_hour(Naive(), erlangs, seed) > 50


def test_a_step_is_followed_within_two_looks() -> None:
    policy, workers = SqrtStaffing(), 22
    for tick in range(100):
        workers = policy.desired(load(16.0, workers), tick * 15.0)
    need = 32 + 1.5 * sqrt(32)
    for tick in (100, 101):
        workers = policy.desired(load(32.0, workers, burst=32.0), tick * 15.0)
    assert need <= workers < inf
