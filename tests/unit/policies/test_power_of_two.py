"""Balls into bins: two choices cut the longest queue from log n / log log n to log log n."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.registry import ROUTING
from parallax.policies.routing.power_of_two import PowerOfTwo
from parallax.policies.testing import cluster, job, placed, worker


def longest(choices: int, seed: int, bins: int = 500) -> int:
    policy = PowerOfTwo(choices)
    policy.seed(Random(seed))
    seen = cluster(*(worker(n) for n in range(bins)))
    return max(Counter(placed(policy, [1.0] * bins, seen)).values())


def test_two_choices_keep_the_longest_queue_short() -> None:
    assert max(longest(2, seed) for seed in range(10)) <= 4  # ln ln 500 / ln 2 + O(1)


def test_one_choice_is_the_control_that_does_not() -> None:
    assert min(longest(1, seed) for seed in range(10)) >= 4
    assert sum(longest(1, seed) for seed in range(10)) >= 50


@pytest.mark.dear
def test_a_third_choice_gains_little() -> None:
    two = sum(longest(2, seed) for seed in range(10))
    assert two - 10 <= sum(longest(3, seed) for seed in range(10)) <= two


def test_the_less_loaded_of_two_is_taken() -> None:
    seen = cluster(worker(0, pending_cost=5.0), worker(1, pending_cost=4.0))
    assert placed(PowerOfTwo(), [1.0], seen) == ["w1"]


def test_ties_are_a_coin_flip() -> None:
    policy = PowerOfTwo()
    policy.seed(Random(5))
    seen = cluster(worker(0), worker(1))
    counts = Counter(placed(policy, [1.0], seen)[0] for _ in range(2_000))
    assert 900 <= counts["w0"] <= 1_100


@pytest.mark.parametrize("choices", [0, -1, 65, 2.0, True])
def test_a_number_of_choices_that_cannot_be_is_refused(choices: int) -> None:
    with pytest.raises(InvalidInput, match=r"power_of_two\.choices"):
        ROUTING.build("power_of_two", {"choices": choices})


def test_with_one_worker_there_is_no_choice() -> None:
    routes = PowerOfTwo().route([job(0), job(1)], [1.0, 1.0], cluster(worker(0, free=1)))
    assert routes == ["w0", None]
