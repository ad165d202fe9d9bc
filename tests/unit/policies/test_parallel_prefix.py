"""parallel_prefix on cases worked by hand, and within the places that there are."""

from __future__ import annotations

import numpy as np
import pytest

from parallax.policies.routing.parallel_prefix import ParallelPrefix, level_of, placed, rooms
from parallax.policies.testing import cluster, job, worker


def test_the_level_is_where_all_would_be_done_together() -> None:
    speed, backlog = np.array([1.0, 1.0, 1.0]), np.array([0.0, 4.0, 100.0])
    assert level_of(8.0, speed, backlog) == pytest.approx(6.0)
    assert rooms(8.0, speed, backlog).tolist() == [6.0, 2.0, 0.0]
    assert level_of(2.0, speed, backlog) == pytest.approx(2.0)


def test_a_job_goes_where_its_middle_falls() -> None:
    places = placed(np.array([4.0, 3.0, 1.0]), np.ones(2), np.array([0.0, 2.0]))
    assert places.tolist() == [0, 1, 1]  # rooms 5 and 3; middles 2, 5.5 and 7.5


def test_faster_workers_get_more() -> None:
    workers = [worker(0, slowness=1.0), worker(1, slowness=3.0)]
    routes = ParallelPrefix().route([job(n) for n in range(40)], [1.0] * 40, cluster(*workers))
    assert (routes.count("w0"), routes.count("w1")) == (30, 10)


def test_small_batches_go_one_by_one_where_they_are_done_first() -> None:
    workers = [worker(0, pending_cost=5.0), worker(1), worker(2, pending_cost=2.0)]
    routes = ParallelPrefix().route([job(n) for n in range(3)], [3.0] * 3, cluster(*workers))
    assert routes == ["w1", "w2", "w1"]


@pytest.mark.parametrize("count", [5, 50])
def test_nobody_gets_more_than_has_places(count: int) -> None:
    workers = [worker(0, free=2), worker(1, free=0), worker(2, free=1, pending_cost=99.0)]
    routes = ParallelPrefix().route(
        [job(n) for n in range(count)], [1.0] * count, cluster(*workers)
    )
    assert (routes.count("w0"), routes.count("w2"), routes.count(None)) == (2, 1, count - 3)
    assert ParallelPrefix().route([job()], [1.0], cluster()) == [None]
