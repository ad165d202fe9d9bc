"""An account at or below the level says nothing: forgetting it changes no decision."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from parallax.policies.interfaces import FairnessPolicy
from parallax.policies.registry import FAIRNESS
from parallax.policies.testing import job

TENANTS = [f"t{n}" for n in range(12)]
WEIGHTS = (0.5, 1.0, 4.0)
Accounts = dict[str, float]


def history(policy: FairnessPolicy, random: Random, steps: int, busy: float = 0.6) -> list[str]:
    """Let tenants come, be served and leave; return who was served, in order."""
    waiting: dict[str, int] = {}
    flying: list[tuple[str, float]] = []
    served: list[str] = []
    for step in range(steps):
        if random.random() < busy:
            tenant = random.choice(TENANTS)
            policy.joined(job(step, tenant))
            waiting[tenant] = waiting.get(tenant, 0) + 1
        elif (chosen := policy.pick()) is not None:
            estimate = random.uniform(10, 3_000)
            policy.charge(chosen, estimate)
            flying.append((chosen, estimate))
            served.append(chosen)
            waiting[chosen] -= 1
            if not waiting[chosen]:
                del waiting[chosen]
                policy.left(chosen)
        if flying and random.random() < 0.3:
            tenant, estimate = flying.pop(random.randrange(len(flying)))
            policy.settle(tenant, estimate, estimate * random.uniform(0.1, 2.0))
    return served


def weighed(name: str) -> FairnessPolicy:
    policy = FAIRNESS.build(name)
    for n, tenant in enumerate(TENANTS):
        policy.weigh(tenant, WEIGHTS[n % len(WEIGHTS)])
    return policy


def left_behind(name: str, seed: int) -> Accounts:
    """Return all accounts of a leader that served for a while."""
    old = weighed(name)
    history(old, Random(seed), 300)
    return old.accounts(TENANTS)


def after(name: str, seed: int, restore: Callable[[FairnessPolicy], None]) -> list[str]:
    new = weighed(name)
    restore(new)
    return history(new, Random(seed + 1_000), 400)


def forgotten(accounts: Accounts, margin: float = 0.0) -> Accounts:
    level = accounts.get("", 0.0) + margin
    return {name: a for name, a in accounts.items() if name == "" or a > level}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", list(FAIRNESS))
def test_forgetting_them_changes_no_decision(name: str, seed: int) -> None:
    accounts = left_behind(name, seed)
    whole = after(name, seed, lambda policy: policy.restore(accounts))
    assert after(name, seed, lambda policy: policy.restore(forgotten(accounts))) == whole


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", list(FAIRNESS))
def test_they_can_be_told_one_by_one(name: str, seed: int) -> None:
    accounts = left_behind(name, seed)
    whole = after(name, seed, lambda policy: policy.restore(accounts))

    def one_by_one(policy: FairnessPolicy) -> None:
        policy.restore({"": accounts.get("", 0.0)})
        for tenant, account in accounts.items():
            if tenant:
                policy.restore({tenant: account})

    assert after(name, seed, one_by_one) == whole


@pytest.mark.parametrize("name", ["fair_queuing", "deficit_round_robin"])
def test_forgetting_more_does(name: str) -> None:
    """The control: accounts above the level are debts, and whoever has them waits."""
    changed = 0
    for seed in range(12):
        accounts = left_behind(name, seed)
        whole = after(name, seed, lambda policy, a=accounts: policy.restore(a))  # type: ignore[misc]
        less = forgotten(accounts, margin=1e9)
        changed += after(name, seed, lambda policy, a=less: policy.restore(a)) != whole  # type: ignore[misc]
    assert changed > 0
