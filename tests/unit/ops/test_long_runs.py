"""What `make soak` and `make bench-autoscale` make of their measurements."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from ops import soak
from ops.bench import autoscale
from ops.bench.autoscale import CPU, OFFERED, OURS, Result
from parallax.drills.drill import DrillResult, DrillSpec
from parallax.drills.watching import Memory, slope

QUIET = Memory(seconds=900.0, most=80.0, early=79.0, late=80.0, slope=0.1)


def result(**memory: Memory) -> DrillResult:
    return DrillResult(
        DrillSpec(15), Counter(), 100, 100, Counter(), {}, 0.0, {}, memory=dict(memory)
    )


def test_a_slope_is_in_mb_a_minute() -> None:
    assert slope([(0.0, 10.0), (30.0, 11.0), (60.0, 12.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 10.0)]) == 0.0


def test_what_a_process_needs_at_first_is_no_slope() -> None:
    warming = [(float(s), min(s, 60) * 1.0) for s in range(200)]
    assert Memory.of(warming).slope == pytest.approx(0.0, abs=0.01)


def test_who_grows_is_told_and_who_lived_shortly_is_not() -> None:
    leaking = dataclasses.replace(QUIET, slope=3.0)
    brief = dataclasses.replace(leaking, seconds=60.0)
    assert soak.judged(result(quiet=QUIET, brief=brief)) == {}
    assert soak.judged(result(quiet=QUIET, leaking=leaking)) == {"leaking": 3.0}


def test_a_week_has_nights_and_a_weekend() -> None:
    hours = list(autoscale.rates(1.0))
    assert len(hours) == 7 * 24
    assert min(hours[:24]) == hours[3]
    assert max(hours) == pytest.approx(autoscale.DAY)
    assert sum(hours[5 * 24 :]) / 48 < sum(hours[: 5 * 24]) / 120


def test_the_cheapest_that_keeps_the_objective_counts() -> None:
    found = [
        Result(OURS, 0.8, 80.0, 0.96), Result(OURS, 0.9, 70.0, 0.90),
        Result(CPU, 0.8, 100.0, 0.99), Result(OFFERED, 0.7, 160.0, 0.99),
    ]  # fmt: skip
    told = autoscale.summary(found)
    assert (told["share"], told["share_of_offered"]) == (0.8, 0.5)
    assert autoscale.summary(found[1:])["share"] is None, "nothing of ours kept it"


def test_the_policies_are_those_that_serve() -> None:
    for rule, targets in autoscale.TARGETS.items():
        assert autoscale.policy(rule, targets[0]).name in {"hpa", "backlog_slo"}
