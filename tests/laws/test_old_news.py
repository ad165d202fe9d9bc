"""Two choices on fresh news, and what is left of looking at queues when the news is old."""

from __future__ import annotations

import pytest

from parallax.sim.experiments.board import board
from parallax.sim.experiments.h01_two_choices import supermarket, tail
from parallax.sim.experiments.servers import offered


def mean(routing: str, servers: int, age_s: float, counts: bool = False, **more: object) -> float:
    jobs = offered(8_000, 0.9 * servers, 3)
    return board(routing, more, 3, servers, age_s, counts).responses(jobs).mean_s


@pytest.mark.slow
def test_two_choices_on_fresh_news_are_the_supermarket_model() -> None:
    jobs = offered(40_000, 90.0, 1)
    found = board("power_of_two", {}, 1, 100, 0.0).responses(jobs, 4)
    assert found.mean_s == pytest.approx(supermarket(0.9), rel=0.04)
    for depth, share in enumerate(found.tails, 1):
        assert share == pytest.approx(tail(0.9, depth), abs=0.02)
    one = board("random", {}, 1, 100, 0.0).responses(offered(10_000, 90.0, 1))
    assert one.mean_s > 2 * supermarket(0.9), "the control: one choice"


@pytest.mark.slow
def test_on_old_news_the_least_loaded_is_worse_than_chance_unless_the_router_counts() -> None:
    chance, two = mean("random", 16, 0.0), mean("power_of_two", 16, 5.0)
    assert mean("least_loaded", 16, 0.0) < 0.7 * mean("power_of_two", 16, 0.0)
    assert mean("least_loaded", 16, 1.0) > mean("power_of_two", 16, 1.0)
    assert mean("least_loaded", 16, 5.0) > chance > two
    assert mean("power_of_two", 16, 5.0, choices=3) > two
    assert mean("least_loaded", 16, 5.0, counts=True) < two
