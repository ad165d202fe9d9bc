"""What is learnt of the load: how much comes in, and what a worker is able to do."""

from __future__ import annotations

from random import Random

import pytest

from parallax.scheduling.load import Ability, LoadMeter


def test_what_comes_in_is_told_by_the_second() -> None:
    meter = LoadMeter()
    assert meter.rate(5.0, 60.0) == 0.0
    for n in range(600):
        meter.offered(3.0, n / 10)
    assert meter.rate(60.0, 60.0) == pytest.approx(30.0, rel=0.05)
    assert meter.rate(60.0, 6.0) == pytest.approx(30.0, rel=0.2)
    assert meter.rate(180.0, 60.0) == 0.0


def test_the_memory_of_what_came_in_is_that_of_a_minute() -> None:
    meter = LoadMeter()
    for n in range(10_000):
        meter.offered(1.0, float(n))
    assert len(meter._buckets) <= 62


def served(alone: float, each: float, companies: list[int], slots: int = 8) -> float:
    """Teach an ability jobs that take `alone + each * company` seconds per unit, with noise."""
    ability, random = Ability(), Random(3)
    for n in range(2_000):
        company = companies[n % len(companies)]
        cost = random.uniform(50.0, 500.0)
        noise = random.uniform(0.8, 1.2)
        ability.learn(company, slots, (alone + each * company) * cost * noise, cost)
    return ability.rate()


def test_an_engine_that_serves_several_hardly_slower_is_known_from_a_light_load() -> None:
    able = 8 / (0.01 + 0.001 * 8)
    assert served(0.01, 0.001, [1, 2, 3, 4]) == pytest.approx(able, rel=0.15)
    busy = 1 / (0.01 + 0.001)  # the control: what is served per second of work
    assert busy < able / 4


def test_an_engine_that_serves_one_after_the_other_is_not_overestimated() -> None:
    assert served(0.0, 0.01, [1, 2, 3, 4]) == pytest.approx(100.0, rel=0.15)


def test_what_was_never_seen_is_believed_up_to_twice_the_fullest_company() -> None:
    assert served(0.01, 0.0, [1, 2], slots=64) == pytest.approx(4 / 0.01, rel=0.25)


def test_company_that_never_changes_is_believed_to_bring_nothing() -> None:
    assert served(0.01, 0.0, [4], slots=64) == pytest.approx(4 / 0.01, rel=0.15)


def test_nothing_is_known_at_first_and_what_was_learnt_is_handed_on() -> None:
    assert Ability().rate() == 0.0
    one, other = Ability(), Ability()
    for company in (1, 2, 3):
        one.learn(company, 4, 1.0 + company, 100.0)
    other.recall(one.remember())
    assert other.rate() == one.rate() > 0
    for junk in ([1.0], ["x"] * 7, [float("nan")] * 7):
        with pytest.raises((ValueError, TypeError)):
            Ability().recall(junk)  # type: ignore[arg-type]
