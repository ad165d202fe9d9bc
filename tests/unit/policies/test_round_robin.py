"""Over the sum of the weights every worker gets exactly its weight."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.policies.routing.power_of_two import PowerOfTwo
from parallax.policies.routing.round_robin import RoundRobin
from parallax.policies.testing import cluster, job, placed, without_free, worker
from tests.examples import examples


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=8), cycles=st.integers(1, 4))
@settings(max_examples=examples(100), deadline=None)
def test_each_cycle_gives_every_worker_exactly_its_weight(weights: list[int], cycles: int) -> None:
    seen = cluster(*(worker(n, weight=float(w)) for n, w in enumerate(weights)))
    policy = RoundRobin()
    for _ in range(cycles):
        counts = Counter(placed(policy, [1.0] * sum(weights), seen))
        assert [counts[f"w{n}"] for n in range(len(weights))] == weights


def test_random_placement_fails_the_same_law() -> None:
    policy = PowerOfTwo(choices=1)
    policy.seed(Random(1))
    seen = cluster(*(worker(n) for n in range(4)))
    cycles = [Counter(placed(policy, [1.0] * 4, seen)) for _ in range(20)]
    assert any(set(counts.values()) != {1} for counts in cycles)


def test_weights_are_smooth_not_in_bursts() -> None:
    seen = cluster(worker(0, weight=5.0), worker(1), worker(2))
    names = placed(RoundRobin(), [1.0] * 7, seen)
    assert names == ["w0", "w0", "w1", "w0", "w2", "w0", "w0"]  # nginx's own example


def test_a_worker_that_joins_does_not_make_others_skip_or_serve_twice() -> None:
    policy = RoundRobin()
    assert placed(policy, [1.0], cluster(worker(0), worker(1))) == ["w0"]
    names = placed(policy, [1.0] * 3, cluster(worker(0), worker(1), worker(2)))
    assert sorted(names) == ["w0", "w1", "w2"]
    assert names[0] == "w1"


def test_full_workers_are_passed_over() -> None:
    seen = cluster(worker(0, free=1), worker(1, free=2))
    assert sorted(placed(RoundRobin(), [1.0] * 3, seen)) == ["w0", "w1", "w1"]
    assert RoundRobin().route([], [], seen) == []
    full = without_free(seen)
    assert RoundRobin().route([job(0), job(1)], [1.0, 1.0], full) == [None, None]
