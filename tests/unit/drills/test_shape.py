"""The shape of a drill: drawn from its seed, pinned by hand, and borne by its fleet."""

from __future__ import annotations

import dataclasses

import pytest

from parallax.core.errors import InvalidInput
from parallax.drills.shape import BOUNDS, NAMED, Shape, drawn, pinned

SEEDS = range(400)


def test_the_same_seed_draws_the_same_shape() -> None:
    assert [drawn(seed) for seed in SEEDS] == [drawn(seed) for seed in SEEDS]
    assert len({drawn(seed) for seed in SEEDS}) > 390


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", BOUNDS)
def test_every_dimension_is_drawn_from_end_to_end(name: str) -> None:
    low, high = BOUNDS[name]
    values = sorted(getattr(drawn(seed), name) for seed in SEEDS)
    assert low <= values[0]
    assert values[-1] <= high
    assert values[-1] >= 0.5 * high
    assert len(set(values)) > 1


def test_what_is_pinned_changes_nothing_else() -> None:
    for seed in SEEDS:
        free, fixed = drawn(seed), drawn(seed, {"workers": 50})
        assert fixed == dataclasses.replace(free, workers=50)


def test_later_words_win_over_earlier() -> None:
    found = pinned(["small", "slow", "workers=50", "cancels=0.25"])
    assert drawn(1, found) == Shape(rtt_ms=200, workers=50, cancels=0.25)
    assert drawn(1, pinned(["small"])) == drawn(2, pinned(["small"])) == Shape()


@pytest.mark.parametrize("name", NAMED)
def test_every_name_is_a_shape(name: str) -> None:
    shape = drawn(3, pinned([name]))
    assert {field: getattr(shape, field) for field in NAMED[name]} == NAMED[name]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("tiny", "known: small, wide"),
        ("worker=3", "workers"),
        ("workers=many", "workers=NUMBER"),
        ("workers=201", "200"),
        ("rtt_ms=-1", "0"),
        ("=3", "known"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_what_is_known(word: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        pinned([word])


def test_leases_outlast_the_round_trips_under_them() -> None:
    for seed in SEEDS:
        shape = drawn(seed)
        assert shape.lease_s >= 1.0 + 4 * shape.rtt_s
        assert shape.heartbeat_s >= 1.5 + 8 * shape.rtt_s
        assert shape.grace_s > shape.heartbeat_s
        assert 0 < shape.rate(300.0) <= 300.0


def test_only_what_is_unusual_is_told() -> None:
    assert Shape().told() == "small"
    assert Shape(body_bytes=1_000_000, near=0.5).told() == "body_bytes=1000000 near=0.5"
