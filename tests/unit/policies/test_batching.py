"""Batching policies: when what waits may join."""

from __future__ import annotations

import pytest

from parallax.core.model import BatchView
from parallax.policies.batching.continuous import Continuous
from parallax.policies.batching.microbatch import Microbatch
from parallax.policies.batching.static import Static


def view(
    waiting: int, running: int = 0, oldest_s: float = 0.0, tokens: int = 0, places: int = 100
) -> BatchView:
    return BatchView(waiting, running, places, oldest_s, tokens)


def test_continuous_takes_what_fits_at_once() -> None:
    assert Continuous().take(view(5)) == 5
    assert Continuous().take(view(5, places=3)) == 3
    assert Continuous().wake_s(view(5)) is None


def test_microbatch_fires_at_the_end_of_the_window_the_size_or_the_tokens() -> None:
    policy = Microbatch(window_s=0.01, max_size=4, max_tokens=1_000)
    assert policy.take(view(3, oldest_s=0.004, tokens=999)) == 0
    assert policy.wake_s(view(3, oldest_s=0.004)) == pytest.approx(0.006)
    assert policy.take(view(3, oldest_s=0.01)) == 3
    assert policy.take(view(4)) == 4
    assert policy.take(view(9)) == 4
    assert policy.take(view(2, tokens=1_000)) == 2
    assert policy.take(view(2, places=2)) == 2


def test_microbatch_lets_others_join_a_running_batch_or_not() -> None:
    assert Microbatch(max_size=8).take(view(5, running=6)) == 2
    assert Microbatch(max_size=8, join_running=False).take(view(5, running=1)) == 0
    assert Microbatch().wake_s(view(5, running=1)) is None


def test_static_lets_nobody_join() -> None:
    policy = Static(size=4, window_s=1.0)
    assert policy.take(view(3, oldest_s=0.5)) == 0
    assert policy.take(view(3, oldest_s=1.0)) == 3
    assert policy.take(view(9)) == 4
    assert policy.take(view(9, running=1, oldest_s=9.0)) == 0
    assert policy.wake_s(view(3, oldest_s=0.25)) == pytest.approx(0.75)
