"""Caches: the engine's is LRU to the block, and affinity makes n of them worth one."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from parallax.core.prefix_index import PrefixIndex
from parallax.engine.kv_cache import KvCache
from parallax.policies.registry import ROUTING
from parallax.policies.testing import cluster
from parallax.policies.testing import job as view
from parallax.policies.testing import worker as seen

NAMES, USES = 400, 6_000
CAPACITIES = (10, 40, 100, 200, 300)


def accesses(seed: int = 1, zipf: float = 0.9) -> list[int]:
    """Return which block each request begins with: a few are far more popular than others."""
    weights = [(n + 1) ** -zipf for n in range(NAMES)]
    return Random(seed).choices(range(1, NAMES + 1), weights, k=USES)


def distances(names: list[int]) -> list[int | None]:
    """Return how many different blocks were used since each one's last use, itself included.

    Mattson, Gecsei, Slutz & Traiger (IBM Systems Journal 1970): LRU with that much room hits.
    """
    stack: list[int] = []
    found: list[int | None] = []
    for name in names:
        found.append(len(stack) - stack.index(name) if name in stack else None)
        if name in stack:
            stack.remove(name)
        stack.append(name)
    return found


def hits(names: list[int], capacity: int, *, touched: bool = True) -> list[bool]:
    """Return which requests, one at a time, find their block in the engine's cache."""
    cache, found = KvCache(capacity), []
    for name in names:
        hit = cache.lookup([name], 1).units == 1
        found.append(hit)
        if not hit:
            cache.take(1)
            cache.share(name, 1)
            cache.unpin([name])
        elif touched:
            cache.pin([name])
            cache.unpin([name])
    return found


@pytest.mark.sampled(1)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_the_engine_hits_exactly_what_the_stack_distance_says(capacity: int) -> None:
    names = accesses()
    expected = [d is not None and d <= capacity for d in distances(names)]
    assert hits(names, capacity) == expected
    assert hits(names, capacity, touched=False) != expected, "the control: first in, first out"


@pytest.mark.dear
def test_what_a_smaller_cache_hits_a_larger_one_hits_too() -> None:
    names = accesses(2)
    for small, large in pairwise(CAPACITIES):
        pairs = zip(hits(names, small), hits(names, large), strict=True)
        assert all(larger for smaller, larger in pairs if smaller)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_what_the_router_believes_is_what_such_a_cache_holds(capacity: int) -> None:
    """A router that is told of every request knows the cache of a worker that serves in order."""
    names = accesses(3)
    index, believed = PrefixIndex(10**6), []
    for name in names:
        believed.append(index.match([name], "w") == 1)
        index.insert([name], "w", capacity)
    assert believed == hits(names, capacity)


def routed_hits(routing: str, workers: int, capacity: int) -> float:
    """Return the share of requests that find their block where they are sent."""
    policy = ROUTING.build(routing, {"bound": 1e6} if routing == "consistent_hash" else {})
    fleet = cluster(*(seen(n, free=1_000) for n in range(workers)))
    caches = {one.id: KvCache(capacity) for one in fleet.workers}
    found = 0
    for n, name in enumerate(accesses(4)):
        (worker,) = policy.route([view(n, prefix=(name,))], [1.0], fleet)
        cache = caches[worker or ""]
        if cache.lookup([name], 1).units:
            found += 1
            cache.pin([name])
        else:
            cache.take(1)
            cache.share(name, 1)
        cache.unpin([name])
    return found / USES


@pytest.mark.dear
def test_with_affinity_many_caches_are_worth_one_and_without_it_one_of_them() -> None:
    names = accesses(4)
    together = sum(hits(names, 8 * 20)) / USES
    alone = sum(hits(names, 20)) / USES
    assert routed_hits("consistent_hash", 8, 20) == pytest.approx(together, abs=0.05)
    assert routed_hits("round_robin", 8, 20) == pytest.approx(alone, abs=0.05)
    assert together > alone + 0.2


def test_a_worker_that_is_lost_costs_its_own_hits_only() -> None:
    index = PrefixIndex(10**6)
    for name in range(1, 101):
        index.insert([name], f"w{name % 4}", 1_000)
    index.forget("w2")
    kept = [name for name in range(1, 101) if index.match([name], f"w{name % 4}")]
    assert kept == [name for name in range(1, 101) if name % 4 != 2]
