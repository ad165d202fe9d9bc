"""Start-time fair queuing in cost: the bound, idleness, debts, forgetting, a change of leader."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.policies.fairness.fair_queuing import FairQueuing
from parallax.policies.fairness.fifo import Fifo
from parallax.policies.interfaces import FairnessPolicy
from parallax.policies.testing import job
from tests.examples import examples

WEIGHTS = {"a": 4.0, "b": 1.0, "c": 2.5}


def backlogged(policy: FairnessPolicy, tenants: dict[str, float]) -> None:
    for n, (tenant, weight) in enumerate(tenants.items()):
        policy.weigh(tenant, weight)
        for k in range(3):
            policy.joined(job(10 * n + k, tenant))


def serve(policy: FairnessPolicy, costs: list[float], served: dict[str, float]) -> float:
    """Serve one job per cost, tenants never running dry; return the worst distance ever seen."""
    worst = 0.0
    for n, cost in enumerate(costs):
        tenant = policy.pick()
        assert tenant is not None
        policy.charge(tenant, cost)
        policy.joined(job(1_000 + n, tenant))
        served[tenant] += cost
        normalised = [served[t] / WEIGHTS[t] for t in WEIGHTS]
        worst = max(worst, *(abs(x - y) for x, y in combinations(normalised, 2)))
    return worst


def bound(costs: list[float]) -> float:
    """Goyal, Vin & Cheng 1996: the largest job of either, each over its weight."""
    return max(max(costs) / WEIGHTS[x] + max(costs) / WEIGHTS[y] for x, y in combinations("abc", 2))


@given(costs=st.lists(st.floats(1.0, 5_000.0), min_size=20, max_size=300))
@settings(max_examples=examples(100), deadline=None)
def test_backlogged_tenants_differ_by_no_more_than_the_bound(costs: list[float]) -> None:
    policy = FairQueuing()
    backlogged(policy, WEIGHTS)
    worst = serve(policy, costs, dict.fromkeys(WEIGHTS, 0.0))
    assert worst <= bound(costs) + 1e-6


def test_fifo_breaks_the_bound() -> None:
    random = Random(1)
    costs = [random.uniform(1.0, 100.0) for _ in range(300)]
    policy = Fifo()
    backlogged(policy, WEIGHTS)
    assert serve(policy, costs, dict.fromkeys(WEIGHTS, 0.0)) > bound(costs)


def test_shares_follow_weights_whatever_the_sizes() -> None:
    policy = FairQueuing()
    backlogged(policy, WEIGHTS)
    served = dict.fromkeys(WEIGHTS, 0.0)
    random = Random(2)
    for n in range(20_000):
        tenant = policy.pick()
        assert tenant is not None
        cost = random.uniform(1, 50) if tenant == "a" else random.uniform(500, 4_000)
        policy.charge(tenant, cost)
        policy.joined(job(n, tenant))
        served[tenant] += cost
    total = sum(served.values())
    for tenant, weight in WEIGHTS.items():
        assert served[tenant] / total == pytest.approx(weight / sum(WEIGHTS.values()), rel=0.02)


def test_a_tenant_that_was_idle_gains_no_credit() -> None:
    policy = FairQueuing()
    policy.joined(job(0, "busy"))
    for n in range(1, 101):
        policy.charge("busy", 10.0)
        policy.settle("busy", 10.0, 10.0)
        policy.joined(job(n, "busy"))
    policy.joined(job(500, "late"))
    picks = []
    for n in range(20):
        tenant = policy.pick()
        assert tenant is not None
        picks.append(tenant)
        policy.charge(tenant, 10.0)
        policy.joined(job(1_000 + n, tenant))
    assert 9 <= picks.count("late") <= 11


def test_settling_the_true_cost_pays_back_or_charges_more() -> None:
    policy = FairQueuing()
    for tenant in "ab":
        policy.joined(job(0, tenant))
    policy.charge("a", 100.0)
    assert policy.pick() == "b"
    policy.settle("a", 100.0, 0.0)
    policy.charge("b", 1.0)
    assert policy.pick() == "a"


def test_a_debt_outlives_idleness() -> None:
    policy = FairQueuing()
    for tenant in "ab":
        policy.joined(job(0, tenant))
    policy.charge("a", 1_000.0)
    policy.left("a")
    policy.joined(job(1, "a"))
    served_b = 0
    while policy.pick() == "b":
        policy.charge("b", 100.0)
        served_b += 1
    assert served_b in {10, 11}


def test_a_new_leader_goes_on_where_the_old_one_stopped() -> None:
    random = Random(4)
    old = FairQueuing()
    backlogged(old, WEIGHTS)
    serve(old, [random.uniform(1, 500) for _ in range(200)], dict.fromkeys(WEIGHTS, 0.0))
    new = FairQueuing()
    new.restore(old.accounts(WEIGHTS))
    backlogged(new, WEIGHTS)
    for _ in range(100):
        tenant, cost = old.pick(), random.uniform(1, 500)
        assert tenant is not None
        assert new.pick() == tenant
        for policy in (old, new):
            policy.charge(tenant, cost)


def test_a_leader_that_forgets_the_accounts_is_noticed() -> None:
    old = FairQueuing()
    backlogged(old, {"a": 1.0, "b": 1.0})
    old.charge("a", 1_000.0)
    new = FairQueuing()
    backlogged(new, {"a": 1.0, "b": 1.0})
    assert (old.pick(), new.pick()) == ("b", "a")


def test_memory_follows_the_active_tenants() -> None:
    policy = FairQueuing()
    for n in range(5_000):
        tenant = f"t{n}"
        policy.joined(job(n, tenant))
        policy.charge(tenant, 10.0)
        policy.left(tenant)
        policy.settle(tenant, 10.0, 7.0)
    assert len(policy._tags) + len(policy._heaps) + len(policy._idle) < 500


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        FairQueuing().weigh("a", weight)


class Lifting(FairQueuing):
    """Lifts newcomers by what is only estimated of others."""

    def _paid(self, tenant: str) -> float:
        return self._tags.get(tenant, 0.0)


def head_start(policy: FairnessPolicy, slots: int = 8, cost: float = 100.0) -> int:
    """Return how many jobs one tenant has before another, after its first were thought huge."""
    policy.joined(job(0, "early"))
    for n in range(slots):
        policy.charge("early", 100 * cost)
        policy.joined(job(n, "early"))
    policy.joined(job(0, "late"))
    for _ in range(slots):
        policy.settle("early", 100 * cost, cost)
    for had in range(1_000):
        if policy.pick() == "late":
            return had
        policy.charge("early", cost)
        policy.settle("early", cost, cost)
        policy.joined(job(had, "early"))
    return 1_000


def test_nobody_waits_for_what_was_only_estimated() -> None:
    assert head_start(FairQueuing()) == 0
    assert head_start(Lifting()) > 500


@pytest.mark.parametrize(("weight", "credit"), [(100.0, False), (None, True)])
def test_an_estimate_is_taken_back_at_the_weight_at_which_it_was_charged(
    weight: float | None, credit: bool
) -> None:
    """The control takes it back at the weight of today: a debt becomes a credit."""
    policy = FairQueuing()
    policy.weigh("a", 100.0)
    for n in range(64):
        policy.joined(job(n, "a"))
        policy.charge("a", 1_000.0)
    policy.weigh("a", 1.0)
    for _ in range(64):
        policy.settle("a", 1_000.0, 20.0, weight)
    assert (policy.accounts(["a"])["a"] < 0) == credit
