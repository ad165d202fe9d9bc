"""The next job goes where the least work is left, what was just placed included."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.policies.routing.least_loaded import LeastLoaded
from parallax.policies.testing import cluster, job, loads, placed, worker
from tests.examples import examples

COSTS = st.lists(st.floats(1.0, 1_000.0), min_size=1, max_size=60)


@given(costs=COSTS, workers=st.integers(2, 6))
@settings(max_examples=examples(100), deadline=None)
def test_list_scheduling_bound(costs: list[float], workers: int) -> None:
    """Graham 1966: greedy placement ends no later than mean load plus one largest job."""
    seen = cluster(*(worker(n) for n in range(workers)))
    busiest = max(loads(placed(LeastLoaded(), costs, seen), costs).values())
    assert busiest <= sum(costs) / workers + max(costs) + 1e-6


def test_without_its_own_placements_a_batch_herds() -> None:
    """The control: one decision per job on the same old view sends all to one worker."""
    costs = [10.0] * 12
    workers = [worker(n, pending_cost=float(n)) for n in range(4)]
    stale = [placed(LeastLoaded(), [cost], cluster(*workers))[0] for cost in costs]
    assert set(stale) == {"w0"}
    assert set(placed(LeastLoaded(), costs, cluster(*workers))) == {"w0", "w1", "w2", "w3"}


def test_a_slow_worker_gets_less_work() -> None:
    seen = cluster(worker(0, slowness=3.0), worker(1, slowness=1.0))
    counts = Counter(placed(LeastLoaded(), [1.0] * 400, seen))
    assert abs(counts["w1"] - 3 * counts["w0"]) <= 4


def test_what_is_pending_counts() -> None:
    seen = cluster(worker(0, pending_cost=100.0), worker(1, pending_cost=99.0))
    assert placed(LeastLoaded(), [1.0], seen) == ["w1"]


def test_ties_are_broken_at_random_and_evenly() -> None:
    policy = LeastLoaded()
    policy.seed(Random(3))
    seen = cluster(*(worker(n) for n in range(4)))
    counts = Counter(placed(policy, [1.0], seen)[0] for _ in range(4_000))
    assert all(850 <= count <= 1_150 for count in counts.values())
    assert len(counts) == 4


def test_jobs_beyond_all_room_stay_queued() -> None:
    seen = cluster(worker(0, free=1), worker(1, free=1))
    routes = LeastLoaded().route([job(n) for n in range(3)], [1.0] * 3, seen)
    assert sorted(routes[:2]) == ["w0", "w1"]  # type: ignore[type-var]
    assert routes[2] is None
