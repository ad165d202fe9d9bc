"""consistent_hash: keys, homes, and what happens when home is full."""

from __future__ import annotations

from parallax.policies.routing.consistent_hash import ConsistentHash
from parallax.policies.testing import cluster, job, worker

FLEET = cluster(*(worker(n) for n in range(5)))


def home(policy: ConsistentHash, **fields: object) -> str | None:
    return policy.route([job(**fields)], [1.0], FLEET)[0]  # type: ignore[arg-type]


def test_a_session_has_one_home_and_so_has_a_prefix() -> None:
    policy = ConsistentHash()
    assert len({home(policy, n=n, session="s") for n in range(20)}) == 1
    assert len({home(policy, n=n, prefix=(7, n)) for n in range(5)}) == 1
    assert len({home(policy, n=n) for n in range(50)}) == 5
    assert len({home(policy, n=n, session="s", tenant=f"t{n}") for n in range(50)}) == 5


def test_the_home_is_the_same_in_every_process() -> None:
    assert home(ConsistentHash(), session="known") == home(ConsistentHash(), session="known")


def test_a_full_home_sends_on_to_the_same_neighbour() -> None:
    policy = ConsistentHash()
    first = home(policy, session="s")
    without = cluster(*(worker(n, free=0 if f"w{n}" == first else 9) for n in range(5)))
    others = {policy.route([job(n, session="s")], [1.0], without)[0] for n in range(5)}
    assert len(others) == 1
    assert first not in others


def test_when_all_are_at_the_bound_somebody_takes_it_while_there_are_places() -> None:
    lopsided = cluster(worker(0, in_flight=100, free=5), worker(1, in_flight=0, free=0))
    policy = ConsistentHash(bound=1.0)
    assert policy.route([job(n) for n in range(6)], [1.0] * 6, lopsided) == ["w0"] * 5 + [None]
    assert policy.route([job()], [1.0], cluster()) == [None]


def test_the_ring_follows_the_fleet_and_keeps_nothing_of_those_that_left() -> None:
    policy = ConsistentHash(points=10)
    for start in range(50):
        policy.route([job()], [1.0], cluster(*(worker(n) for n in range(start, start + 3))))
    assert len(policy._ring) == 30
    assert len(policy._places) == 3
