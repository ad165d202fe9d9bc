"""Deficit round robin: turns, debts, weights, memory, a change of leader, the cost of a pick."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.fairness.deficit_round_robin import DeficitRoundRobin
from parallax.policies.testing import job


def waiting(policy: DeficitRoundRobin, tenants: str) -> DeficitRoundRobin:
    for n, tenant in enumerate(tenants):
        policy.joined(job(n, tenant))
    return policy


def served(policy: DeficitRoundRobin, costs: dict[str, float], count: int) -> str:
    """Serve so many jobs of tenants that never run dry; return who was served."""
    names = ""
    for _ in range(count):
        tenant = policy.pick()
        assert tenant is not None
        policy.charge(tenant, costs[tenant])
        names += tenant
    return names


def test_a_turn_lasts_until_it_is_used_up() -> None:
    policy = waiting(DeficitRoundRobin(quantum=30.0), "ab")
    assert served(policy, {"a": 10.0, "b": 30.0}, 12) == "aaabaaabaaab"


def test_what_a_job_cost_too_much_is_missing_from_the_next_turn() -> None:
    policy = waiting(DeficitRoundRobin(quantum=30.0), "ab")
    assert served(policy, {"a": 20.0, "b": 30.0}, 10) == "aababaabab"


def test_shares_follow_weights_whatever_the_sizes() -> None:
    policy = waiting(DeficitRoundRobin(), "abc")
    random = Random(2)
    weights = {"a": 4.0, "b": 1.0, "c": 2.5}
    total: Counter[str] = Counter()
    for name, weight in weights.items():
        policy.weigh(name, weight)
    for _ in range(30_000):
        tenant = policy.pick()
        assert tenant is not None
        cost = random.randrange(1, 50) if tenant == "a" else random.randrange(500, 4_000)
        policy.charge(tenant, cost)
        total[tenant] += cost
    for name, weight in weights.items():
        assert total[name] / total.total() == pytest.approx(weight / 7.5, rel=0.02)


def test_leaving_forfeits_the_rest_of_a_turn_but_not_a_debt() -> None:
    policy = waiting(DeficitRoundRobin(quantum=100.0), "ab")
    assert policy.pick() == "a"
    policy.charge("a", 20.0)
    policy.left("a")
    policy.joined(job(1, "a"))  # 80 were left of its turn
    assert served(policy, {"a": 50.0, "b": 50.0}, 6) == "bbaabb"
    policy = waiting(DeficitRoundRobin(quantum=100.0), "ab")
    assert policy.pick() == "a"
    policy.charge("a", 350.0)  # 250 too much
    policy.left("a")
    policy.joined(job(2, "a"))
    assert served(policy, {"a": 100.0, "b": 100.0}, 6) == "bbbaba"


def test_settling_the_true_cost_pays_back_or_charges_more() -> None:
    policy = waiting(DeficitRoundRobin(quantum=100.0), "ab")
    assert served(policy, {"a": 100.0}, 1) == "a"
    assert policy.pick() == "b"
    policy.settle("a", 100.0, 400.0)  # three turns more
    assert served(policy, {"a": 100.0, "b": 100.0}, 6) == "bbbbab"
    policy.settle("b", 400.0, 200.0)
    assert served(policy, {"a": 100.0, "b": 100.0}, 4).count("b") >= 3


def test_a_job_that_is_shed_uses_up_nothing() -> None:
    policy = waiting(DeficitRoundRobin(quantum=100.0), "ab")
    assert [policy.pick() for _ in range(5)] == ["a"] * 5


def test_a_pick_skips_empty_rounds_at_once() -> None:
    policy = waiting(DeficitRoundRobin(quantum=1.0), "ab")
    policy.weigh("b", 1e-6)
    assert served(policy, {"a": 1e7, "b": 1e7}, 2) == "ab"
    assert policy.pick() == "a"  # ten million rounds later, and b's debt is a million times a's
    assert served(policy, {"a": 1e7}, 1_000) == "a" * 1_000


def test_a_debt_beyond_what_a_float_counts_in_rounds_does_not_hang() -> None:
    policy = DeficitRoundRobin(quantum=1.0)
    policy.restore({"": 0.0, "a": 1e30, "b": float("inf"), "c": float("nan")})
    waiting(policy, "a")
    assert policy.pick() == "a"
    waiting(policy, "bc")
    assert {policy.pick() for _ in range(3)} == {"a"}


def test_memory_follows_those_that_wait_or_are_in_debt() -> None:
    policy = waiting(DeficitRoundRobin(quantum=10.0), "z")
    for n in range(5_000):
        tenant = f"t{n}"
        policy.joined(job(n, tenant))
        while policy.pick() != tenant:
            policy.charge("z", 10.0)
        policy.charge(tenant, 15.0)
        policy.left(tenant)
        policy.settle(tenant, 15.0, 18.0)
    assert len(policy._debts) + len(policy._charged) + len(policy._turns) < 200
    policy.left("z")
    assert not policy._debts


def test_among_many_debts_those_not_paid_off_are_kept() -> None:
    policy = waiting(DeficitRoundRobin(quantum=10.0), "z")
    for n in range(300):
        policy.joined(job(n, f"t{n}"))
    costs = {"z": 10.0} | {f"t{n}": 100.0 for n in range(300)}
    served(policy, costs, 301)
    for n in range(300):
        policy.left(f"t{n}")
    served(policy, costs, 4)
    policy.joined(job(0, "t7"))
    picks = [served(policy, costs, 1) for _ in range(10)]
    assert 4 <= picks.index("t7") <= 6  # it owed ten turns, and five have gone by


def test_all_start_level_after_nobody_waited() -> None:
    policy = waiting(DeficitRoundRobin(quantum=10.0), "ab")
    served(policy, {"a": 500.0, "b": 10.0}, 1)
    policy.left("a")
    policy.left("b")
    waiting(policy, "ab")
    assert served(policy, {"a": 10.0, "b": 10.0}, 6) == "ababab"


def test_a_new_leader_grants_each_what_the_old_one_owed() -> None:
    weights = {"a": 4.0, "b": 1.0, "c": 2.5}
    for seed in range(20):
        random = Random(seed)
        old, new = DeficitRoundRobin(500.0), DeficitRoundRobin(500.0)
        for policy in (old, new):
            for tenant, weight in weights.items():
                policy.weigh(tenant, weight)
        waiting(old, "abc")
        for _ in range(random.randrange(100)):
            served(old, {tenant: random.uniform(1, 900) for tenant in "abc"}, 1)
        new.restore(old.accounts("abc"))
        waiting(new, "abc")
        costs = {"a": 100.0, "b": 100.0, "c": 100.0}
        before, after = (Counter(served(policy, costs, 400)) for policy in (old, new))
        for tenant, weight in weights.items():  # 400 jobs end within a turn: 5 jobs per weight
            assert abs(before[tenant] - after[tenant]) <= 5 * weight + 5


def test_a_leader_that_forgets_a_debt_is_noticed() -> None:
    old, new = DeficitRoundRobin(100.0), DeficitRoundRobin(100.0)
    waiting(old, "ab")
    assert served(old, {"a": 2_000.0}, 1) == "a"
    new.restore(old.accounts("ab"))
    costs = {"a": 100.0, "b": 100.0}
    assert served(waiting(new, "ab"), costs, 15) == "b" * 15
    assert "a" in served(waiting(DeficitRoundRobin(100.0), "ab"), costs, 15)


@pytest.mark.parametrize("quantum", [0.0, -1.0, float("nan"), float("inf")])
def test_a_quantum_that_cannot_be_is_refused(quantum: float) -> None:
    with pytest.raises(InvalidInput, match=r"deficit_round_robin\.quantum"):
        DeficitRoundRobin(quantum)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        DeficitRoundRobin().weigh("a", weight)


@pytest.mark.parametrize(("weight", "credit"), [(100.0, False), (None, True)])
def test_an_estimate_is_taken_back_at_the_weight_at_which_it_was_charged(
    weight: float | None, credit: bool
) -> None:
    """The control takes it back at the weight of today: a debt becomes a credit."""
    policy = DeficitRoundRobin(quantum=100.0)
    policy.weigh("a", 100.0)
    policy.joined(job(0, "a"))
    before = policy.accounts(["a"])["a"]
    policy.charge("a", 1_000.0)
    policy.weigh("a", 1.0)
    policy.settle("a", 1_000.0, 20.0, weight)
    assert (policy.accounts(["a"])["a"] < before) == credit
