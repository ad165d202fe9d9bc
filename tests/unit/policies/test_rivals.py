"""The imitated routers decide as their published formulas do, on cases worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallax.core.model import ClusterView, JobView, WorkerView
from parallax.policies.interfaces import RoutingPolicy
from parallax.policies.registry import ROUTING

PROMPT = tuple(range(100, 110))  # ten blocks of 16 tokens


def job(number: int, prefix: tuple[int, ...] = PROMPT) -> JobView:
    return JobView(f"j{number}", "acme", 160, 100, 0.0, prefix=prefix)


def at(name: str, **fields: Any) -> WorkerView:
    return WorkerView(name, 64, **({"free": 100} | fields))


def chosen(policy: RoutingPolicy, asked: JobView, *workers: WorkerView) -> str | None:
    (route,) = policy.route([asked], [1.0], ClusterView(workers, 0.0))
    return route


def warmed(name: str, where: str = "a", **parameters: object) -> RoutingPolicy:
    """Return a policy that has sent the prompt to one worker before."""
    policy = ROUTING.build(name, parameters)
    assert chosen(policy, job(0), at(where)) == where
    return policy


def test_sglang_follows_the_match_until_the_fleet_is_out_of_balance() -> None:
    policy = warmed("sglang_cache_aware")
    balanced = (at("a", in_flight=64), at("b"))  # 64 more is not over 64
    assert chosen(policy, job(1), *balanced) == "a"
    assert chosen(policy, job(2), at("a", in_flight=65), at("b")) == "b"


def test_sglang_ignores_a_match_that_is_too_short() -> None:
    short, long = (*PROMPT[:3], *range(7)), (*PROMPT[:4], *range(6))
    for prefix, where in ((short, "b"), (long, "a")):  # 0.3 is not over 0.3; 0.4 is
        policy = warmed("sglang_cache_aware")
        assert chosen(policy, job(1, prefix), at("a", in_flight=5), at("b")) == where


def test_smg_weighs_waiting_tokens_against_memory() -> None:
    policy = ROUTING.build("smg_least_load", {})
    # 2,000 tokens are a second; memory at 0.9 costs 0.15 * 9 = 1.35 s, at 0.8 0.6 s.
    waits = at("a", prefill_tokens=2_000.0)
    assert chosen(policy, job(1), waits, at("b", kv_used=0.9)) == "a"
    assert chosen(policy, job(2), waits, at("b", kv_used=0.8)) == "b"


def test_llmd_load_adds_the_queue_score_and_free_memory() -> None:
    policy = ROUTING.build("llmd_load", {})
    # Queue scores 0 and 1: memory cannot make up for a whole line.
    busy, empty = at("a", in_flight=4, decoding=0), at("b", kv_used=0.9)
    assert chosen(policy, job(1), busy, empty) == "b"
    assert chosen(policy, job(2), at("a", in_flight=4, decoding=4), empty) == "a"  # none waits


def herded(policy: RoutingPolicy) -> set[str | None]:
    """Return who gets three jobs in turn while no worker reports."""
    routes, sent = set(), 0
    for number in range(3):
        first = at("a", kv_used=0.0, in_flight=sent, reported_at=1.0)
        route = chosen(policy, job(number), first, at("b", kv_used=0.1, reported_at=1.0))
        sent += route == "a"
        routes.add(route)
    return routes


def test_llmd_sees_a_line_only_as_it_was_reported() -> None:
    policy = ROUTING.build("llmd_load", {"reported": True})
    assert herded(policy) == {"a"}
    told = at("a", kv_used=0.0, in_flight=3, reported_at=2.0)
    assert chosen(policy, job(9), told, at("b", kv_used=0.1, reported_at=1.0)) == "b"


def test_the_control_a_router_that_counts_itself_sees_it_grow() -> None:
    assert herded(ROUTING.build("llmd_load", {})) == {"a", "b"}


def test_llmd_default_takes_the_share_of_matched_blocks() -> None:
    policy = warmed("llmd_default")
    # Prefix 1 against 0; memory 0 against 1: equal. A little less memory in use decides.
    assert chosen(policy, job(1), at("a", kv_used=0.9), at("b")) == "a"
    half = (*PROMPT[:5], *range(5))
    assert chosen(warmed("llmd_default"), job(2, half), at("a", kv_used=0.6), at("b")) == "b"
    assert chosen(warmed("llmd_default"), job(3, half), at("a", kv_used=0.4), at("b")) == "a"


def test_llmd_precise_weighs_the_prefix_more() -> None:
    half = (*PROMPT[:5], *range(5))  # 3 * 0.5 against 2 * memory
    assert chosen(warmed("llmd_precise"), job(1, half), at("a", kv_used=0.7), at("b")) == "a"
    assert chosen(warmed("llmd_precise"), job(2, half), at("a", kv_used=0.8), at("b")) == "b"


def test_dynamo_adds_blocks_to_compute_and_blocks_to_read() -> None:
    policy = warmed("dynamo_kv")
    # a: 160 - 160 overlap + 128 of context; b: 160 to compute.
    assert chosen(policy, job(1), at("a", kv_tokens=128.0), at("b")) == "a"
    assert chosen(warmed("dynamo_kv"), job(2), at("a", kv_tokens=192.0), at("b")) == "b"


def test_ray_takes_the_shorter_of_two_queues() -> None:
    policy = ROUTING.build("ray_pow2", {})
    assert chosen(policy, job(1), at("a", in_flight=3), at("b", in_flight=2)) == "b"
    among = [chosen(policy, job(n), *(at(w, in_flight=9) for w in "abc")) for n in range(60)]
    assert set(among) == set("abc")
    assert "z" not in {
        chosen(policy, job(n), at("z", in_flight=10), at("a"), at("b")) for n in range(40)
    }


def test_aibrix_follows_the_match_within_a_deviation_of_the_mean() -> None:
    policy = warmed("aibrix_prefix")
    # Loads 2, 0, 0: mean 0.67, deviation 0.94: 2 is over 1.61. With 1, 0, 0 it is within.
    assert chosen(policy, job(1), at("a", in_flight=3), at("b"), at("c")) in {"b", "c"}
    quiet = (at("a", in_flight=4), at("b", in_flight=4), at("c", in_flight=2))
    assert chosen(warmed("aibrix_prefix"), job(2), *quiet) == "a"
    assert chosen(warmed("aibrix_prefix"), job(3), at("a", in_flight=9), at("b")) == "b"


RIVALS = (
    "sglang_cache_aware", "smg_least_load", "llmd_default", "llmd_precise", "llmd_load",
    "dynamo_kv", "ray_pow2", "aibrix_prefix",
)  # fmt: skip


@pytest.mark.parametrize("name", RIVALS)
def test_a_batch_counts_what_it_places_and_nobody_gets_more_than_fits(name: str) -> None:
    policy = ROUTING.build(name, {})
    jobs = [replace(job(n), prefix=(n,)) for n in range(10)]
    cluster = ClusterView((at("a", free=3), at("b", free=4)), 0.0)
    routes = policy.route(jobs, [1.0] * 10, cluster)
    assert (routes.count("a"), routes.count("b"), routes.count(None)) == (3, 4, 3)
    assert policy.route(jobs[:1], [1.0], ClusterView((), 0.0)) == [None]
