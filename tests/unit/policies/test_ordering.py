"""Orders within a tenant: arrival, or predicted cost with ageing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.policies.ordering.fcfs import Fcfs
from parallax.policies.ordering.sjf import Sjf
from parallax.policies.testing import job
from tests.examples import examples


def test_fcfs_serves_in_the_order_of_arrival_whatever_the_size() -> None:
    keys = [Fcfs().key(job(n), estimate, 0.0) for n, estimate in enumerate([900.0, 1.0, 50.0])]
    assert keys == sorted(keys)


@pytest.mark.parametrize("policy", [Fcfs(), Sjf()])
def test_a_step_of_priority_is_a_head_start(policy: Fcfs | Sjf) -> None:
    assert policy.key(job(59, priority=1), 10.0, 0.0) < policy.key(job(0), 10.0, 0.0)
    assert policy.key(job(61, priority=1), 10.0, 0.0) > policy.key(job(0), 10.0, 0.0)


def test_sjf_serves_the_shorter_of_two_that_came_together() -> None:
    assert Sjf().key(job(0), 100.0, 0.0) < Sjf().key(job(0), 2_000.0, 0.0)


@given(
    cost=st.floats(0.0, 1e5), smallest=st.floats(0.0, 1e5), later=st.floats(0.0, 1e4),
    ageing=st.floats(0.0, 100.0),
)  # fmt: skip
@settings(max_examples=examples(200), deadline=None)
def test_sjf_is_overtaken_only_within_its_bound(
    cost: float, smallest: float, later: float, ageing: float
) -> None:
    policy = Sjf(ageing_s=ageing)
    patience = ageing * (cost - smallest) / 1000
    first = policy.key(job(0, arrival=0.0), cost, 0.0)
    if policy.key(job(1, arrival=later), smallest, 0.0) < first:
        assert later <= patience + 1e-6


def starved(policy: Sjf, rounds: int = 500) -> bool:
    """Whether a long job is overtaken by every one of a stream of short ones."""
    long = policy.key(job(0, arrival=0.0), 10_000.0, 0.0)
    return all(policy.key(job(n, arrival=float(n)), 1.0, 0.0) < long for n in range(1, rounds))


def test_with_ageing_nobody_starves_and_without_the_control_does() -> None:
    assert not starved(Sjf(ageing_s=10.0))
    assert starved(Sjf(ageing_s=1e6))  # in effect shortest first for ever


def test_sjf_minimises_the_mean_wait_and_fcfs_does_not() -> None:
    random = Random(1)
    costs = [random.lognormvariate(5, 1.5) for _ in range(200)]

    def mean_wait(policy: Fcfs | Sjf) -> float:
        order = sorted(costs, key=lambda c: policy.key(job(0), c, 0.0))
        done = waited = 0.0
        for cost in order:
            waited += done
            done += cost
        return waited / len(order)

    assert mean_wait(Sjf()) < 0.6 * mean_wait(Fcfs())


@pytest.mark.parametrize("kind", [Fcfs, Sjf])
def test_parameters_are_checked(kind: type[Fcfs] | type[Sjf]) -> None:
    with pytest.raises(InvalidInput, match="priority_s"):
        kind(priority_s=float("nan"))
