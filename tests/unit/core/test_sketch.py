"""A sketch's percentiles are as near to the true ones as it says, however it was put together."""

from __future__ import annotations

from random import Random

import pytest

from parallax.core.quantiles import quantile
from parallax.core.sketch import BOUNDS, ERROR, LONGEST, SHORTEST, Sketch, middle

SHARES = (0.01, 0.5, 0.95, 0.99, 1.0)


def sketched(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.observe(value)
    return sketch


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_the_stated_error(seed: int) -> None:
    random = Random(seed)
    values = [random.lognormvariate(-2.0, 2.0) for _ in range(2_000)]
    for share, found in zip(SHARES, sketched(values).quantiles(SHARES), strict=True):
        true = max(quantile(values, share), SHORTEST)
        assert found is not None
        assert abs(found - true) <= (ERROR + 1e-9) * true


def test_a_coarser_sketch_would_not_be() -> None:
    """The control: a bucket further along is off by more than is stated."""
    value = 1.0
    bucket = sketched([value]).pairs()[0][0]
    assert abs(middle(bucket + 1) - value) > ERROR * value


def test_parts_that_are_added_are_the_whole() -> None:
    random = Random(1)
    values = [random.expovariate(1.0) for _ in range(500)]
    whole, left, right = sketched(values), sketched(values[:123]), sketched(values[123:])
    left.add(right)
    assert left.pairs() == whole.pairs()
    assert left.count == 500
    assert Sketch(whole.pairs()).quantiles(SHARES) == whole.quantiles(SHARES)


def test_of_nothing_nothing_is_known() -> None:
    assert Sketch().quantiles(SHARES) == [None] * len(SHARES)


@pytest.mark.parametrize("value", [0.0, -1.0, SHORTEST, LONGEST, 1e300])
def test_whatever_is_observed_it_stays_small(value: float) -> None:
    sketch = sketched([value] * 3)
    assert sketch.count == 3
    assert len(BOUNDS) < 600
    (found,) = sketch.quantiles([0.5])
    assert found is not None
    assert SHORTEST <= found <= 2 * LONGEST


def test_pairs_from_elsewhere_that_can_be_none_are_left_out() -> None:
    assert Sketch([(-1, 5), (10**9, 5), (3, -2), (4, 1)]).pairs() == [(4, 1)]
