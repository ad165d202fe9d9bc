"""Earliest deadline first: the order, what has no deadline, priority, the drop."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import JobView
from parallax.policies.interfaces import OrderingPolicy
from parallax.policies.ordering.edf import Edf
from parallax.policies.ordering.fcfs import Fcfs
from parallax.policies.testing import job

NOW = 1.7e9  # seconds since the epoch, as live


def in_order(policy: OrderingPolicy, jobs: list[JobView]) -> list[str]:
    return [j.id for j in sorted(jobs, key=lambda j: policy.key(j, 100.0, 1.0))]


def test_the_earliest_deadline_comes_first_whenever_it_arrived() -> None:
    jobs = [job(1, deadline=NOW + 9), job(2, deadline=NOW + 3), job(3, deadline=NOW + 6)]
    assert in_order(Edf(), jobs) == ["j2", "j3", "j1"]


def test_jobs_without_a_deadline_come_last_and_by_arrival() -> None:
    jobs = [
        job(1, arrival=NOW + 0.0002), job(2, arrival=NOW), job(3, arrival=NOW + 0.0001),
        job(4, arrival=NOW, deadline=NOW + 30 * 86_400),
    ]  # fmt: skip
    assert in_order(Edf(), jobs) == ["j4", "j2", "j3", "j1"]


def late(policy: OrderingPolicy, jobs: list[JobView], service: float) -> int:
    """Serve jobs that are all there, one after the other; return how many end late."""
    order = sorted(jobs, key=lambda j: policy.key(j, 100.0, service))
    return sum((n + 1) * service > j.deadline for n, j in enumerate(order))


def test_what_can_be_met_is_met_and_arrival_order_does_not() -> None:
    random = Random(4)
    missed_by_arrival = 0
    for _ in range(200):
        due = [n + 1.0 + random.random() for n in range(30)]  # one a second can be met
        random.shuffle(due)
        jobs = [job(n, deadline=at) for n, at in enumerate(due)]
        assert late(Edf(), jobs, 1.0) == 0
        missed_by_arrival += late(Fcfs(), jobs, 1.0)
    assert missed_by_arrival > 1_000


def test_a_step_of_priority_moves_the_place_but_not_the_deadline() -> None:
    policy = Edf(priority_s=60.0)
    raised, plain = job(1, deadline=159.0, priority=1), job(2, deadline=100.0)
    assert in_order(policy, [plain, raised]) == ["j1", "j2"]
    assert in_order(Edf(priority_s=0.0), [plain, raised]) == ["j2", "j1"]
    assert not policy.hopeless(raised, 1.0, 158.0)


def test_the_hopeless_are_dropped_unless_told_otherwise() -> None:
    doomed, free = job(1, deadline=100.0), job(2)
    assert free.deadline == inf
    assert Edf().hopeless(doomed, 2.0, 98.5)
    assert not Edf().hopeless(doomed, 2.0, 98.0)
    assert not Edf().hopeless(free, 1e9, 1e9)
    assert not Edf(drop_hopeless=False).hopeless(doomed, 2.0, 98.5)


@pytest.mark.parametrize("value", [-1.0, float("nan"), inf])
def test_a_priority_that_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(InvalidInput, match=r"edf\.priority_s"):
        Edf(priority_s=value)
