"""How often a load is run live, and when live and simulated are close enough."""

from __future__ import annotations

from random import Random

from parallax.lab.against_sim import DRAWS, MOST_LIVE_DRAWS, Draw, Gap, live_draws


def drawn(spread: float) -> list[Draw]:
    """Return draws whose latencies differ by about this share."""
    random = Random(1)
    factors = [random.gauss(1.0, spread) for _ in range(DRAWS)]
    return [Draw([factor * n for n in range(1, 101)], [1.0] * 100) for factor in factors]


def test_a_policy_that_draws_no_lots_is_run_once() -> None:
    assert live_draws(drawn(0.0)) == 1


def test_the_more_draws_differ_the_oftener_it_is_run() -> None:
    counts = [live_draws(drawn(spread)) for spread in (0.01, 0.03, 0.05, 1.0)]
    assert counts == sorted(counts)
    assert 1 <= counts[0] < counts[2]
    assert counts[-1] == MOST_LIVE_DRAWS


def test_a_gap_holds_within_both_tolerances_only() -> None:
    assert Gap("r", "ttft", 1, (1.0, 1.0), (1.04, 0.91)).held
    assert not Gap("r", "ttft", 1, (1.0, 1.0), (1.06, 1.0)).held
    assert not Gap("r", "ttft", 1, (1.0, 1.0), (1.0, 0.89)).held
