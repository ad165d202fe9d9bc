"""FIFO serves whoever came first, and so whoever sends most."""

from __future__ import annotations

from parallax.policies.fairness.fifo import Fifo
from parallax.policies.testing import job


def test_tenants_are_served_in_the_order_of_arrival() -> None:
    policy = Fifo()
    for n, name in enumerate("aabab"):
        policy.joined(job(n, name))
    picks = []
    while (tenant := policy.pick()) is not None:
        policy.charge(tenant, 1.0)
        picks.append(tenant)
    assert picks == list("aabab")


def test_a_tenant_that_left_is_not_picked() -> None:
    policy = Fifo()
    policy.joined(job(0, "a"))
    policy.joined(job(1, "b"))
    policy.left("a")
    assert policy.pick() == "b"
    policy.left("b")
    assert policy.pick() is None
