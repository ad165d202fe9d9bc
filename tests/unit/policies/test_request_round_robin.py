"""Round robin by jobs: equal turns, weights, a change of leader, and no fairness in cost."""

from __future__ import annotations

from collections import Counter

import pytest

from parallax.policies.fairness.fair_queuing import FairQueuing
from parallax.policies.fairness.request_round_robin import RequestRoundRobin
from parallax.policies.interfaces import FairnessPolicy
from parallax.policies.testing import job

COSTS = {"a": 10.0, "b": 1_000.0, "c": 100.0}


def served(policy: FairnessPolicy, count: int) -> str:
    names = ""
    for n, tenant in enumerate("abc"):
        policy.joined(job(n, tenant))
    for _ in range(count):
        tenant = policy.pick() or ""
        policy.charge(tenant, COSTS[tenant])
        policy.settle(tenant, COSTS[tenant], 6 * COSTS[tenant])
        names += tenant
    return names


def test_each_has_one_job_a_turn_whatever_it_costs() -> None:
    assert served(RequestRoundRobin(), 9) == "abcabcabc"


def test_a_tenant_with_a_weight_has_so_many_jobs_a_turn() -> None:
    policy = RequestRoundRobin()
    policy.weigh("a", 2.5)
    policy.weigh("b", 0.5)
    assert Counter(served(policy, 4_000)) == pytest.approx(
        {"a": 2_500, "b": 500, "c": 1_000}, abs=3
    )


def test_long_jobs_get_more_service_and_in_fair_queuing_they_do_not() -> None:
    shares = {}
    for policy in (RequestRoundRobin(), FairQueuing()):
        counts = Counter(served(policy, 3_000))
        shares[type(policy)] = counts["b"] * COSTS["b"] / (counts["a"] * COSTS["a"])
    assert shares[RequestRoundRobin] == 100.0
    assert shares[FairQueuing] == pytest.approx(1.0, rel=0.05)


def test_a_tenant_that_joins_waits_for_one_turn_of_each() -> None:
    policy = RequestRoundRobin()
    assert served(policy, 31)[-1] == "a"
    policy.joined(job(99, "late"))
    picks = []
    while (tenant := policy.pick()) != "late":
        assert tenant is not None
        policy.charge(tenant, 1.0)
        picks.append(tenant)
    assert sorted(picks) in (["b", "c"], ["a", "b", "c"])


def test_a_new_leader_goes_on_with_the_turns() -> None:
    old = RequestRoundRobin()
    assert served(old, 4) == "abca"
    new = RequestRoundRobin()
    new.restore(old.accounts("abc"))
    assert served(new, 5) == "bcabc"
    assert served(RequestRoundRobin(), 5) == "abcab"  # the control remembers nothing


def test_nobody_waits_nobody_is_picked() -> None:
    policy = RequestRoundRobin()
    assert policy.pick() is None
    policy.joined(job(0, "a"))
    policy.left("a")
    assert policy.pick() is None
