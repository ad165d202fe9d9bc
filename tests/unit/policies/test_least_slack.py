"""Least slack first: who must start first, what has no deadline, the drop."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.ordering.edf import Edf
from parallax.policies.ordering.least_slack import LeastSlack
from parallax.policies.testing import job

Work = tuple[float, float]  # deadline, seconds of service


def placed(policy: Edf | LeastSlack, work: list[Work]) -> list[Work]:
    return sorted(work, key=lambda w: policy.key(job(0, deadline=w[0]), 1.0, w[1]))


def lateness(order: tuple[Work, ...] | list[Work]) -> list[float]:
    """Serve in this order; return how late each ends (negative: early)."""
    now, late = 0.0, []
    for deadline, service in order:
        now += service
        late.append(now - deadline)
    return late


def test_of_two_due_together_the_longer_goes_first() -> None:
    assert placed(LeastSlack(), [(10.0, 1.0), (10.0, 5.0)]) == [(10.0, 5.0), (10.0, 1.0)]


def test_it_may_put_the_later_deadline_first_where_edf_does_not() -> None:
    work = [(10.0, 1.0), (12.0, 6.0)]
    assert placed(LeastSlack(), work) == work[::-1]
    assert placed(Edf(), work) == work


def test_until_the_pace_is_known_it_is_edf() -> None:
    jobs = [job(n, deadline=float(50 - n), priority=n % 3) for n in range(10)]
    jobs.append(job(11))
    assert [LeastSlack().key(j, 5.0, 0.0) for j in jobs] == [Edf().key(j, 5.0, 0.0) for j in jobs]


def test_without_a_deadline_last_and_by_arrival_whatever_the_size() -> None:
    policy = LeastSlack()
    first, second = job(1, arrival=1.7e9), job(2, arrival=1.7e9 + 0.001)
    assert policy.key(first, 1.0, 0.1) < policy.key(second, 1.0, 500.0)
    assert policy.key(job(3, deadline=1.7e9 + 30 * 86_400), 1.0, 0.1) < policy.key(first, 1.0, 1e6)


def test_it_wastes_least_on_being_early_and_edf_keeps_the_worst_lateness_smallest() -> None:
    """Conway, Maxwell & Miller 1967, both exact for jobs that are all there; each is the other's
    control."""
    random = Random(2)
    differ = 0
    for _ in range(60):
        work = [(random.uniform(1, 12), random.uniform(0.5, 5)) for _ in range(5)]
        orders = [lateness(order) for order in permutations(work)]
        by_slack, by_deadline = (lateness(placed(p, work)) for p in (LeastSlack(), Edf()))
        assert min(by_slack) == pytest.approx(max(map(min, orders)))
        assert max(by_deadline) == pytest.approx(min(map(max, orders)))
        differ += min(by_deadline) < min(by_slack) - 1e-9 and max(by_deadline) < max(by_slack)
    assert differ > 5


def test_the_hopeless_are_dropped_unless_told_otherwise() -> None:
    doomed = job(1, deadline=100.0)
    assert LeastSlack().hopeless(doomed, 2.0, 98.5)
    assert not LeastSlack().hopeless(doomed, 2.0, 98.0)
    assert not LeastSlack().hopeless(job(2), 1e9, 1e9)
    assert not LeastSlack(drop_hopeless=False).hopeless(doomed, 2.0, 98.5)


def test_a_step_of_priority_is_a_head_start() -> None:
    policy = LeastSlack(priority_s=10.0)
    raised, plain = job(1, deadline=109.0, priority=1), job(2, deadline=100.0)
    assert policy.key(raised, 1.0, 1.0) < policy.key(plain, 1.0, 1.0)
    with pytest.raises(InvalidInput, match=r"least_slack\.priority_s"):
        LeastSlack(priority_s=float("nan"))
