"""Scans: equal to a running sum, in exactly the steps and additions of the theory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from parallax.core.scans import Numbers, Scan, blelloch, blocked, hillis_steele


@pytest.mark.parametrize("scan", [hillis_steele, blelloch, lambda v: blocked(v, 2)])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100, 1_024])
def test_they_are_running_sums(scan: Callable[[Numbers], Scan], count: int) -> None:
    values = np.random.default_rng(count).integers(0, 100, count).astype(float)
    assert (scan(values).sums == np.cumsum(values)).all()


@pytest.mark.parametrize(
    ("scan", "count", "steps", "additions"),
    [
        (hillis_steele, 1_024, 10, 9_217), (blelloch, 1_024, 20, 2_046),
        (hillis_steele, 1 << 20, 20, 19_922_945), (blelloch, 1 << 20, 40, 2_097_150),
    ],
)  # fmt: skip
def test_steps_and_additions_are_those_of_theory(
    scan: Callable[[Numbers], Scan], count: int, steps: int, additions: int
) -> None:
    found = scan(np.ones(count))
    assert (found.steps, found.additions) == (steps, additions)
    assert found.sums[-1] == count


@pytest.mark.parametrize("blocks", [1, 2, 5, 64])
def test_blocks_take_two_passes_and_one_over_the_blocks(blocks: int) -> None:
    values = np.arange(640, dtype=float)
    found = blocked(values, blocks)
    assert (found.sums == np.cumsum(values)).all()
    assert found.steps == 2 * -(-640 // blocks) + blocks


def test_the_arguments_are_left_alone() -> None:
    values = np.ones(16)
    for scan in (hillis_steele, blelloch):
        scan(values)
    assert (values == 1).all()
