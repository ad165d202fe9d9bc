"""FIFO serves whoever came first, and so whoever sends most."""

from __future__ import annotations

from parallax.policies.fairness.fifo import Fifo
from parallax.policies.testing import job


def test_tenants_are_served_in_the_order_of_arrival() -> None:
    policy = Fifo()
    for n, name in enumerate("aabab"):
        policy.joined(job(n, name))
    picks = []
    for _ in "aabab":
        picks.append(policy.pick() or "")
        policy.charge(picks[-1], 1.0)
    assert picks == list("aabab")


def test_a_hedge_uses_up_nobodys_place() -> None:
    policy = Fifo()
    for n, name in enumerate("ab"):
        policy.joined(job(n, name))
    assert policy.pick() == "a"
    policy.charge("a", 1.0)
    policy.charge("b", 1.0)  # a hedge of a job that b sent before
    assert policy.pick() == "b"


def test_who_waits_is_picked_although_ordering_took_another_of_its_jobs() -> None:
    policy = Fifo()
    policy.joined(job(0, "a", model="m"))
    policy.joined(job(1, "a", model="n"))
    assert policy.pick() == "a"
    policy.charge("a", 1.0)  # for the job in `m`; ordering took the one in `n`
    policy.left_lane("a", "n")
    assert policy.pick({"m"}) == "a"


def test_a_tenant_that_left_is_not_picked() -> None:
    policy = Fifo()
    policy.joined(job(0, "a"))
    policy.joined(job(1, "b"))
    policy.left("a")
    assert policy.pick() == "b"
    policy.left("b")
    assert policy.pick() is None
