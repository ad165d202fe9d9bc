"""The canary: who tries the new version, and when the test has seen enough."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from parallax.policies.rollout.canary import BUCKETS, CANARY, STABLE, Canary
from parallax.policies.testing import job


def sessions(count: int) -> list[str]:
    return [f"s{n}" for n in range(count)]


@pytest.mark.dear
def test_a_session_keeps_its_version_and_larger_shares_hold_the_smaller_ones() -> None:
    chosen = {}
    for percent in (1.0, 5.0, 25.0, 50.0):
        policy = Canary(percent=percent)
        arms = {s: {policy.arm(job(n, session=s)) for n in range(3)} for s in sessions(3_000)}
        assert all(len(seen) == 1 for seen in arms.values())
        chosen[percent] = {s for s, seen in arms.items() if seen == {CANARY}}
        share, p = len(chosen[percent]) / 3_000, percent / 100
        assert abs(share - p) <= 3 * sqrt(p * (1 - p) / 3_000)
    assert chosen[1.0] < chosen[5.0] < chosen[25.0] < chosen[50.0]


def test_another_salt_draws_other_sessions() -> None:
    one, other = Canary(percent=50.0), Canary(percent=50.0, salt="again")
    same = sum(one.arm(job(session=s)) == other.arm(job(session=s)) for s in sessions(4_000))
    assert abs(same / 4_000 - 0.5) <= 3 * sqrt(0.25 / 4_000)


def test_nobody_and_everybody() -> None:
    assert {Canary(percent=0.0).arm(job(session=s)) for s in sessions(200)} == {STABLE}
    assert {Canary(percent=100.0).arm(job(session=s)) for s in sessions(200)} == {CANARY}
    assert BUCKETS == 10_000


def rolled_out(canary_rate: float, stable_rate: float, seed: int, looks: int = 10_000) -> str:
    """Judge jobs of both versions, looking after every fifty."""
    policy, random = Canary(warm_up=0, enough=looks), Random(seed)
    for n in range(looks):
        policy.observe(CANARY, random.random() < canary_rate)
        policy.observe(STABLE, random.random() < stable_rate)
        if n % 50 == 49 and policy.verdict() != "undecided":
            return policy.verdict()
    return policy.verdict()


def peeking(canary_rate: float, stable_rate: float, seed: int, looks: int = 10_000) -> str:
    """The control: a z-test at five percent, looked at as often."""
    random, missed = Random(seed), [0, 0]
    for jobs in range(1, looks + 1):
        missed[0] += random.random() < canary_rate
        missed[1] += random.random() < stable_rate
        if jobs % 50 == 0 and jobs >= 500:
            pooled = sum(missed) / (2 * jobs)
            deviation = sqrt(max(1e-12, 2 * pooled * (1 - pooled) / jobs))
            if (missed[0] - missed[1]) / jobs > 1.645 * deviation:
                return "rollback"
    return "promote"


@pytest.mark.slow
def test_a_version_that_is_as_good_is_rarely_rolled_back_however_often_one_looks() -> None:
    verdicts = [rolled_out(0.05, 0.05, seed) for seed in range(120)]
    assert verdicts.count("rollback") <= 0.05 * 120
    assert verdicts.count("undecided") == 0
    naive = [peeking(0.05, 0.05, seed) for seed in range(120)]
    assert naive.count("rollback") >= 0.2 * 120


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("rate", "least"), [(0.10, 1.0), (0.07, 0.9)])
def test_a_worse_version_is_found_out(rate: float, least: float) -> None:
    verdicts = [rolled_out(rate, 0.05, seed) for seed in range(60)]
    assert verdicts.count("rollback") >= least * 60


def test_a_disaster_is_rolled_back_before_there_are_enough_jobs_for_other_verdicts() -> None:
    policy = Canary(warm_up=0)
    for n in range(150):
        policy.observe(STABLE, False)
        policy.observe(CANARY, n % 2 == 0)
    assert policy.verdict() == "rollback"


def test_the_first_jobs_are_not_judged() -> None:
    policy = Canary(warm_up=50)
    for _ in range(50):
        policy.observe(CANARY, True)
        policy.observe(STABLE, False)
    assert policy.verdict() == "undecided"
    assert policy._arms[CANARY].jobs == 0
