"""Every accepted job ends once, whatever is doubled, stolen, handed over, lost or told twice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.fairness.fifo import Fifo
from parallax.scheduling.scheduler import build_scheduler
from tests.laws.rescues import Cell

HEDGE = PolicyChoice("percentile", {"min_samples": 5, "budget": 1.0, "saturation": 1_000.0})
COMPOSITIONS = {
    "hedging": Policies(hedging=HEDGE),
    "tied": Policies(hedging=PolicyChoice("tied", {"budget": 1.0, "saturation": 1_000.0})),
    "stealing": Policies(
        stealing=PolicyChoice("longest_victim"), gate=PolicyChoice("jbsq", {"prefetch": 6})
    ),
    "all": Policies(
        hedging=HEDGE, stealing=PolicyChoice("steal_half"),
        gate=PolicyChoice("jbsq", {"prefetch": 6}), routing=PolicyChoice("consistent_hash"),
    ),
    "pools": Policies(
        routing=PolicyChoice("disaggregated", {"min_tokens": 50.0}), hedging=HEDGE,
        stealing=PolicyChoice("longest_victim"),
    ),
}  # fmt: skip
FEW, MANY = 10, 30  # histories


def played(name: str, seed: int, *, silent: bool = False) -> Cell:
    policies = COMPOSITIONS[name]
    cell = Cell(build_scheduler(policies, seed), Random(seed), name == "pools", silent)
    cell.play(150)
    return cell


@pytest.mark.sampled(1)
@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_everything_ends_once_and_nothing_is_left(name: str, seeds: int) -> None:
    cells = [played(name, seed) for seed in range(seeds)]
    for seed, cell in enumerate(cells):
        assert cell.left_over() == [], seed
    if name in ("hedging", "tied", "all"):
        assert sum(cell.hedges for cell in cells) > seeds
    if name in ("stealing", "all"):
        assert sum(cell.steals for cell in cells) > seeds / 6


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, float]:
    """Return what tenants were charged and paid back, all in all."""
    kept: defaultdict[str, float] = defaultdict(float)

    def charge(self: Fifo, tenant: str, cost: float) -> None:
        kept[tenant] += cost

    def settle(
        self: Fifo, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        kept[tenant] += consumed - estimate

    monkeypatch.setattr(Fifo, "charge", charge)
    monkeypatch.setattr(Fifo, "settle", settle)
    return kept


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_tenants_pay_for_all_that_their_attempts_used(
    name: str, ledger: defaultdict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = replace(COMPOSITIONS[name], fairness=PolicyChoice("fifo"))
    monkeypatch.setitem(COMPOSITIONS, name, fifo)
    for seed in range(8):
        ledger.clear()
        cell = played(name, seed)
        assert ledger == pytest.approx(cell.used), seed
        cell.used["a"] += 1.0
        assert ledger != pytest.approx(cell.used), "the control: a unit more is noticed"


def test_attempts_that_vanish_without_a_word_are_noticed() -> None:
    """The control: a cell that cancels and does not say so leaves attempts in flight."""
    left = (played("tied", seed, silent=True).left_over() for seed in range(12))
    assert any("the scheduler is not idle" in wrong for wrong in left)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_what_nobody_tells_of_lost_workers_is_settled_in_time(name: str) -> None:
    for seed in range(5):
        pools = name == "pools"
        cell = Cell(build_scheduler(COMPOSITIONS[name], seed), Random(seed), pools, mute=True)
        cell.play(150)
        assert cell.left_over() == [], seed
