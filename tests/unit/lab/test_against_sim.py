"""How often a load is run live, and when live and simulated are close enough."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.lab import against_sim
from parallax.lab.against_sim import (
    DRAWS,
    MOST_LIVE_DRAWS,
    Draw,
    Gap,
    Setting,
    hops,
    live_draws,
    measured,
)
from parallax.lab.cli import bench
from parallax.producers.load.drive import Run
from parallax.producers.load.live import Live
from parallax.services.orders import Interrupted, Orders


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


# -- orders to stop


def test_an_order_to_stop_reaches_the_processes_and_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = Orders()
    heard: list[object] = []

    class Private:
        """A system that starts nothing."""

        url = ""
        processes = SimpleNamespace(start=lambda *_: None)

        def __init__(self, *_: object, **options: Any) -> None:
            heard.append(options["orders"])

        def __enter__(self) -> Private:
            return self

        def __exit__(self, *_: object) -> None:
            heard.append("stopped")

        def await_workers(self, count: int) -> None:
            """All are there."""

    def run(live: Live, _jobs: object) -> Run:
        heard.append(live.orders)
        live.orders.stop.set()
        return Run()

    monkeypatch.setattr(against_sim, "System", Private)
    monkeypatch.setattr(Live, "run", run)
    setting = Setting(2, "llama3-8b-a100", 1)
    with pytest.raises(Interrupted):
        hops(setting, ManualClock(), orders)
    assert heard == [orders, orders, "stopped"]
    with pytest.raises(Interrupted):  # before the first of many simulations
        measured(setting, "", [], [0.001], ManualClock(), orders)


def test_what_must_be_given_is_named() -> None:
    told = CliRunner().invoke(bench, []).exception
    assert isinstance(told, InvalidInput)
    assert str(told).startswith("--against-sim")
