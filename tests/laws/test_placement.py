"""Placement: what prefix sums, a ring and two choices promise, each with what breaks it."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
import pytest

from parallax.core.model import ClusterView, JobView, WorkerView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.parallel_prefix import Numbers, level_of, placed, rooms

Places = npt.NDArray[np.int64]


def case(seed: int) -> tuple[Numbers, Numbers, Numbers]:
    """Costs, speeds and backlogs of a random fleet."""
    draw = np.random.default_rng(seed)
    count, workers = int(draw.integers(1, 300)), int(draw.integers(1, 20))
    costs = draw.lognormal(0.0, draw.uniform(0.1, 1.5), count)
    speed = draw.uniform(0.2, 3.0, workers)
    backlog = draw.exponential(1.0, workers) * draw.integers(0, 2, workers) * costs.mean() * 5
    return costs, speed, backlog


def loads(costs: Numbers, places: Places, workers: int) -> Numbers:
    found: Numbers = np.bincount(places, weights=costs, minlength=workers).astype(np.float64)
    return found


def worst_case(place) -> float:  # type: ignore[no-untyped-def]
    """The largest |load - room| over the largest job, in 2,000 random cases."""
    worst = 0.0
    for seed in range(2_000):
        costs, speed, backlog = case(seed)
        room = rooms(float(costs.sum()), speed, backlog)
        got = loads(costs, place(costs, speed, backlog), len(speed))
        worst = max(worst, float(np.abs(got - room).max() / costs.max()))
    return worst


@pytest.mark.dear
def test_no_worker_is_further_from_its_room_than_the_largest_job() -> None:
    assert worst_case(placed) <= 1.0 + 1e-9


def by_number(costs: Numbers, speed: Numbers, backlog: Numbers) -> Places:
    """The control: jobs are counted and not weighed."""
    return placed(np.full_like(costs, costs.mean()), speed, backlog)


def blind(costs: Numbers, speed: Numbers, backlog: Numbers) -> Places:
    """The control: the batch is balanced, whatever is there already."""
    return placed(costs, speed, np.zeros_like(backlog))


@pytest.mark.dear
@pytest.mark.parametrize("broken", [by_number, blind])
def test_the_bound_is_broken_by_what_is_nearly_the_same(broken) -> None:  # type: ignore[no-untyped-def]
    assert worst_case(broken) > 1.0


def test_the_last_worker_is_done_at_most_one_job_after_the_fluid_level() -> None:
    for seed in range(500):
        costs, speed, backlog = case(seed)
        load = backlog + loads(costs, placed(costs, speed, backlog), len(speed))
        used = load > backlog
        level = level_of(float(costs.sum()), speed, backlog)
        assert (load / speed)[used].max() <= level + costs.max() / speed.min() + 1e-9


def test_batches_are_balanced_far_better_than_in_turn() -> None:
    draw = np.random.default_rng(1)
    costs, even = draw.lognormal(0.0, 1.0, 1_000), np.ones(8)
    ideal = costs.sum() / 8
    jointly = loads(costs, placed(costs, even, np.zeros(8)), 8).max() / ideal
    in_turn = loads(costs, np.arange(1_000) % 8, 8).max() / ideal
    assert jointly - 1 < (in_turn - 1) / 3


def fleet(count: int, in_flight: dict[int, int] | None = None) -> ClusterView:
    held = in_flight or {}
    workers = [
        WorkerView(f"w{n:03d}", 10_000, held.get(n, 0), float(held.get(n, 0)), 10_000)
        for n in range(count)
    ]
    return ClusterView(tuple(workers), 0.0)


def bins(routing: str, balls: int, count: int, seed: int, **parameters: object) -> int:
    """Throw balls into bins by a policy; return the largest bin."""
    policy = ROUTING.build(routing, parameters, Random(seed))
    jobs = [JobView(f"j{n}", "a", 1, 1, 0.0) for n in range(balls)]
    routes = policy.route(jobs, [1.0] * balls, fleet(count))
    return max(routes.count(f"w{n:03d}") for n in range(count))


@pytest.mark.dear
def test_two_choices_make_the_largest_bin_small() -> None:
    two = [bins("power_of_two", 1_000, 1_000, seed) for seed in range(3)]
    one = [bins("random", 1_000, 1_000, seed) for seed in range(3)]
    assert max(two) <= 4 <= min(one)
    assert sum(one) / 3 - sum(two) / 3 >= 1.5


def test_the_gap_does_not_grow_with_the_number_of_balls() -> None:
    assert bins("power_of_two", 1_600, 16, 1) - 100 <= 3
    assert bins("random", 1_600, 16, 1) - 100 >= 7


def keys(count: int) -> list[JobView]:
    return [JobView(f"j{n}", "a", 1, 1, 0.0, f"s{n}") for n in range(count)]


def homes(policy_bound: float, workers: int, without: int = -1) -> list[str | None]:
    """Where each of 2,000 sessions goes alone, in a fleet from which one may be missing."""
    policy = ROUTING.build("consistent_hash", {"bound": policy_bound})
    view = fleet(workers)
    view = ClusterView(tuple(w for n, w in enumerate(view.workers) if n != without), 0.0)
    return [policy.route([key], [1.0], view)[0] for key in keys(2_000)]


def test_when_a_worker_leaves_only_its_own_keys_move() -> None:
    before, after = homes(100.0, 20), homes(100.0, 20, without=7)
    moved = [a for a, b in zip(before, after, strict=True) if a != b]
    assert set(moved) == {"w007"}
    assert len(moved) / 2_000 <= 1.5 / 20
    shifted = sum(n % 20 != n % 19 for n in range(2_000)) / 2_000  # the control: mod n
    assert shifted > 0.9


@pytest.mark.parametrize("bound", [1.0, 1.25, 2.0])
def test_no_worker_holds_more_than_the_bound_however_uneven_the_keys(bound: float) -> None:
    random = Random(3)
    popular = random.choices(keys(50), [1 / (n + 1) ** 1.1 for n in range(50)], k=1_000)
    policy = ROUTING.build("consistent_hash", {"bound": bound})
    routes = policy.route(popular, [1.0] * 1_000, fleet(10))
    most = max(routes.count(f"w{n:03d}") for n in range(10))
    assert most <= -(-bound * 1_000 // 10)
    unbounded = ROUTING.build("consistent_hash", {"bound": 1e6})
    spread = unbounded.route(popular, [1.0] * 1_000, fleet(10))
    assert max(spread.count(f"w{n:03d}") for n in range(10)) > 2 * 100
