"""The scan in two processes is a scan, and the heap it is timed beside is fair."""

from __future__ import annotations

import numpy as np
import pytest

from ops.bench.scan import Half, by_heap


@pytest.mark.e2e
@pytest.mark.parametrize("size", [2, 7, 1_000])
def test_two_processes_find_the_sums_of_one(size: int) -> None:
    half, values = Half(size), np.random.default_rng(size).random(size)
    try:
        for _ in range(2):
            half.values[:] = values
            half.scan()
            assert np.allclose(half.values, np.cumsum(values))
            assert not np.allclose(half.values, values)
    finally:
        half.close()


def test_the_heap_gives_each_job_to_who_is_done_first() -> None:
    costs, speed, backlog = np.array([3.0, 1.0, 1.0, 1.0]), np.array([1.0, 1.0]), np.zeros(2)
    assert by_heap(costs, speed, backlog).tolist() == [0, 1, 1, 1]
    assert by_heap(costs, np.array([1.0, 3.0]), backlog).tolist() == [0, 1, 1, 1]
    assert by_heap(costs[1:], speed, np.array([5.0, 0.0])).tolist() == [1, 1, 1]
