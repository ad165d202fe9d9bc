"""The autoscaler: bounds, who is drained, and what it says of its decisions."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput, UnknownPolicy
from parallax.core.model import LoadView, WorkerView
from parallax.core.settings import PolicyChoice
from parallax.scheduling.autoscaler import (
    Autoscaler,
    Bounds,
    Direction,
    Drain,
    Start,
    Why,
    build_autoscaler,
)
from parallax.scheduling.load import Load


class Wants:
    """A policy that wants so many."""

    def __init__(self, count: int) -> None:
        self.count = count

    def desired(self, load: LoadView, now: float) -> int:
        return self.count


def load(
    *workers: WorkerView, starting: int = 0, offered: float = 500.0, backlog: float = 0.0,
    each: float = 100.0,
) -> Load:  # fmt: skip
    return Load(offered, offered, backlog, backlog, each, workers, starting)


def fleet(count: int) -> list[WorkerView]:
    return [WorkerView(f"w{n}", 4) for n in range(count)]


def scaler(wants: int, fewest: int = 1, most: int = 10, cooldown_s: float = 0.0) -> Autoscaler:
    return Autoscaler(Wants(wants), "wants", Bounds(fewest, most, cooldown_s))


def test_who_is_missing_is_started_and_who_starts_is_not_asked_for_again() -> None:
    assert scaler(5).handle(load(*fleet(2)), 0.0) == [Start(3)]
    assert scaler(5).handle(load(*fleet(2), starting=3), 0.0) == []


def test_the_coldest_are_drained_first() -> None:
    there = [
        WorkerView("warm", 4, warmth=50.0),
        WorkerView("full", 4, kv_used=0.9),
        WorkerView("busy", 4, in_flight=3, pending_cost=300.0),
        WorkerView("idle", 4),
        WorkerView("leaving", 4, draining=True),
    ]
    assert scaler(1).handle(load(*there), 0.0) == [Drain("idle"), Drain("busy"), Drain("full")]


def test_one_worker_stays_while_others_only_start() -> None:
    assert scaler(1).handle(load(*fleet(2), starting=4), 0.0) == [Drain("w0")]


@pytest.mark.parametrize(("wants", "expected"), [(0, 2), (50, 6)])
def test_bounds_hold_whatever_the_policy_says(wants: int, expected: int) -> None:
    bounded = scaler(wants, fewest=2, most=6)
    bounded.handle(load(*fleet(4)), 0.0)
    assert bounded.decision is not None
    assert (bounded.decision.wanted, bounded.decision.reason) == (expected, Why.BOUNDS)


def test_without_work_a_fleet_may_shrink_to_nothing_and_work_wakes_it() -> None:
    asleep = scaler(0, fewest=0)
    assert asleep.handle(load(*fleet(1), offered=0.0), 0.0) == [Drain("w0")]
    assert asleep.handle(load(offered=0.0), 1.0) == []
    assert asleep.handle(load(offered=0.0, backlog=1.0, each=0.0), 2.0) == [Start(1)]
    assert asleep.decision is not None
    assert asleep.decision.reason is Why.WAKE
    assert asleep.handle(load(offered=0.0, backlog=1.0, starting=1), 3.0) == []
    assert asleep.handle(load(*fleet(1), offered=0.0, backlog=1.0), 4.0) == [], "it has work"


def test_the_other_direction_rests_for_a_while() -> None:
    policy = Wants(4)
    resting = Autoscaler(policy, "wants", Bounds(1, 10, cooldown_s=30.0))
    assert resting.handle(load(*fleet(2)), 0.0) == [Start(2)]
    policy.count = 1
    assert resting.handle(load(*fleet(4)), 10.0) == []
    assert resting.decision is not None
    assert resting.decision.reason is Why.COOLDOWN
    policy.count = 6
    assert resting.handle(load(*fleet(4)), 20.0) == [Start(2)], "the same direction goes on"
    policy.count = 1
    assert len(resting.handle(load(*fleet(6)), 51.0)) == 5


def test_a_fleet_below_its_least_is_mended_at_once() -> None:
    resting = scaler(3, fewest=3, cooldown_s=1e3)
    assert len(resting.handle(load(*fleet(5)), 0.0)) == 2
    assert resting.handle(load(*fleet(1)), 1.0) == [Start(2)], "two have crashed"


def test_a_decision_says_what_and_why() -> None:
    one = scaler(8)
    one.handle(load(*fleet(4), starting=1, backlog=800.0), 7.0)
    decision = one.decision
    assert decision is not None
    assert (decision.direction, decision.reason) == (Direction.UP, Why.LOAD)
    assert decision.text == (
        "up to 8 workers (4 serve, 1 start): wants wants so many; "
        "the load is that of 5.0 workers, 2.0 s of work waits"
    )
    one.handle(load(*fleet(8), each=0.0), 8.0)
    assert one.decision is not None
    assert "not known yet" in one.decision.text


def test_bounds_reach_the_policy_unless_it_was_given_its_own() -> None:
    busy = load(*fleet(3), offered=1e6)
    kept = build_autoscaler(PolicyChoice("hpa", {"most": "4"}), Bounds(0, 9))
    kept.handle(busy, 0.0)
    told = build_autoscaler(PolicyChoice("sqrt_staffing"), Bounds(0, 9))
    told.handle(load(*fleet(1), offered=0.0), 0.0)
    told.handle(load(*fleet(1), offered=0.0), 1e4)
    assert (kept.decision and kept.decision.wanted, told.decision and told.decision.wanted) == (
        4,
        0,
    )


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="min"):
        Bounds(5, 4)
    with pytest.raises(UnknownPolicy, match="nobody"):
        build_autoscaler(PolicyChoice("nobody"))
