"""KV locality: where the prefix is, unless too much waits there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallax.core.model import JobView, Usage, WorkerView
from parallax.policies.routing import kv_locality
from parallax.policies.routing.kv_locality import KvLocality
from parallax.policies.testing import cluster


def at(name: str, **fields: Any) -> WorkerView:
    return WorkerView(name, 8, free=1_000, **fields)


def chat(number: int, prompt: int, session: str = "s") -> JobView:
    return JobView(f"j{number}", "acme", prompt, 100, 0.0, session)


def place(policy: KvLocality, job: JobView, **waiting: float) -> str:
    """Place one job on workers a, b and c with so many prompt tokens waiting."""
    workers = [at(w, prefill_tokens=waiting.get(w, 0.0)) for w in "abc"]
    (chosen,) = policy.route([job], [1.0], cluster(*workers))
    assert chosen is not None
    return chosen


def test_the_next_turn_goes_where_the_first_one_was() -> None:
    policy = KvLocality(stickiness=0.0)
    home = place(policy, chat(1, 1_000))
    assert policy.cached_tokens(chat(1, 1_000), home) == 0
    assert all(place(policy, chat(n, 1_000 + 100 * n)) == home for n in range(2, 12))


def test_it_leaves_home_when_what_waits_there_is_worth_more_than_what_is_cached() -> None:
    policy = KvLocality(omega=2.0, jobs=0.0, stickiness=0.0)
    home = place(policy, chat(1, 1_600))
    worth = 2.0 * 1_599
    assert place(policy, chat(2, 1_600), **{home: worth - 10}) == home
    assert place(policy, chat(3, 1_600), **{home: worth + 10}) != home


def test_without_locality_it_would_not_go_home() -> None:
    """The control: with omega 0 a hit is worth nothing."""
    policy = KvLocality(omega=0.0, stickiness=0.0)
    home = place(policy, chat(1, 1_600))
    assert place(policy, chat(2, 1_600), **{home: 10.0}) != home


def test_a_home_is_kept_for_a_small_difference_only() -> None:
    policy = KvLocality(stickiness=0.5)
    short = chat(1, 10)  # less than a block: nothing is cached
    home = place(policy, short)
    assert place(policy, replace(short, id="j2"), **{home: 4.0}) == home
    assert place(policy, replace(short, id="j3"), **{home: 6.0}) != home


def test_named_prefixes_are_shared_by_jobs_of_no_session() -> None:
    policy = KvLocality()
    first = JobView("j1", "acme", 128, 10, 0.0, prefix=(1, 2, 3, 4, 5, 6, 7, 8))
    home = place(policy, first)
    second = replace(first, id="j2", tenant="other", prefix=(1, 2, 3, 4, 99))
    assert place(policy, second) == home
    assert policy.cached_tokens(second, home) == 64


def test_a_batch_counts_what_it_places() -> None:
    policy = KvLocality()
    jobs = [JobView(f"j{n}", "acme", 1_000, 10, 0.0) for n in range(6)]
    routes = policy.route(jobs, [1.0] * 6, cluster(*(at(w) for w in "abc")))
    assert sorted(route for route in routes if route) == ["a", "a", "b", "b", "c", "c"]


def test_the_answer_is_known_to_be_cached_when_it_has_ended() -> None:
    policy = KvLocality()
    first = chat(1, 160)
    home = place(policy, first)
    policy.ended(first, home, Usage(160, 320))
    assert policy.cached_tokens(chat(2, 640), home) == 480


def test_a_lost_worker_is_no_home() -> None:
    policy = KvLocality()
    home = place(policy, chat(1, 1_000))
    policy.lost(home)
    assert policy.cached_tokens(chat(2, 1_000), home) == 0


def test_a_job_that_does_not_fit_pays_for_what_it_pushes_out() -> None:
    full = at("a", kv_capacity=10_000, kv_tokens=9_900.0)
    empty = at("b", kv_capacity=10_000, prefill_tokens=700.0)
    (chosen,) = KvLocality().route([chat(1, 1_000)], [1.0], cluster(full, empty))
    assert chosen == "b"


def chosen_of(policy: KvLocality, *workers: WorkerView, job: JobView | None = None) -> str | None:
    (chosen,) = policy.route([job or chat(1, 1_000, "")], [1.0], cluster(*workers))
    return chosen


def test_many_short_prompts_that_wait_weigh_more_than_one_of_as_many_tokens() -> None:
    many = at("a", prefill_tokens=1_000.0, in_flight=10)
    one = at("b", prefill_tokens=1_100.0, in_flight=1)
    assert chosen_of(KvLocality(), many, one) == "b"
    assert chosen_of(KvLocality(jobs=0.0), many, one) == "a", "the control: tokens alone"


def test_memory_is_dear_when_little_is_left() -> None:
    """It grows as k/(1-k): the same difference matters where memory is full and not elsewhere."""

    def pair(used: float) -> tuple[WorkerView, WorkerView]:
        fuller = at("a", kv_capacity=100_000, kv_tokens=1_000.0 * (used + 4))
        return fuller, at("b", kv_capacity=100_000, kv_tokens=1_000.0 * used, prefill_tokens=200.0)

    assert chosen_of(KvLocality(), *pair(10.0)) == "a"
    assert chosen_of(KvLocality(), *pair(90.0)) == "b"
    assert chosen_of(KvLocality(memory=0.0), *pair(90.0)) == "a", "the control"


def test_short_answers_are_spared_and_the_more_the_longer_the_prompt() -> None:
    hasty, calm = at("a", haste=2.0), at("b", prefill_tokens=1_500.0)
    policy = KvLocality()
    assert chosen_of(policy, hasty, calm) == "b"
    assert chosen_of(policy, hasty, calm, job=chat(2, 100, "")) == "a"
    assert chosen_of(KvLocality(interference=0.0), hasty, calm) == "a", "the control"


def test_a_prefix_that_all_share_leaves_nobody_idle() -> None:
    """A twentieth of every prompt is the same: it is no reason to crowd those who hold it."""
    shared = tuple(range(1, 33))  # 512 of 10,240 tokens

    def used(policy: KvLocality) -> set[str]:
        chosen = set()
        for n in range(40):
            own = tuple(range(1_000 * (n + 1), 1_000 * (n + 1) + 608))
            job = JobView(f"j{n}", "acme", 10_240, 10, 0.0, prefix=shared + own)
            chosen.add(str(chosen_of(policy, *(at(f"w{i}") for i in range(8)), job=job)))
        return chosen

    assert len(used(KvLocality())) == 8
    assert len(used(KvLocality(least=0.0))) == 1, "the control"


def test_sessions_are_forgotten_in_the_end() -> None:
    policy = KvLocality(blocks=64)
    for n in range(500):
        place(policy, chat(n, 320, f"s{n}"))
    assert len(policy._index) <= 3 * 64
    assert len(policy._homes) <= kv_locality.MAX_HOMES


def named(number: int) -> JobView:
    """Return a job of ten blocks that share nothing with those of others."""
    blocks = tuple(range(100 * number, 100 * number + 10))
    return JobView(f"j{number}", "acme", 160, 100, 0.0, prefix=blocks)


def evicted(dram: int) -> tuple[KvLocality, WorkerView, WorkerView]:
    """Return a policy whose worker a had job 1, and so many others that its memory is full."""
    policy = KvLocality(memory=0.0, jobs=0.0, stickiness=0.0)
    first = at("a", kv_capacity=320, dram_tokens=dram)
    for number in (1, 2, 3):
        policy.route([named(number)], [1.0], cluster(first))
    return policy, first, at("b", kv_capacity=320)


def test_what_fell_into_the_second_tier_is_still_credited_at_its_price() -> None:
    policy, first, other = evicted(dram=3_200)
    again = replace(named(1), id="again")
    assert policy.cached_tokens(again, "a") == 159
    costs = policy.scores(again, 1.0, cluster(first, other))
    price = (1 + 0.1 * 159) / 160  # the last token is computed in any case
    assert costs["a"] / costs["b"] == pytest.approx(price)
    assert costs["a"] > policy.scores(named(3), 1.0, cluster(first, other))["a"], "memory is nearer"
    assert policy.route([again], [1.0], cluster(first, other)) == ["a"]


def test_the_control_without_a_second_tier_it_is_forgotten() -> None:
    policy, first, other = evicted(dram=0)
    again = replace(named(1), id="again")
    assert policy.cached_tokens(again, "a") == 0
    costs = policy.scores(again, 1.0, cluster(first, other))
    assert costs["a"] == costs["b"]


def test_both_tiers_of_a_lost_worker_are_forgotten() -> None:
    policy, _, _ = evicted(dram=3_200)
    policy.lost("a")
    assert policy.cached_tokens(replace(named(1), id="again"), "a") == 0


def test_the_second_tier_is_as_small_as_its_worker_says() -> None:
    policy, first, _ = evicted(dram=160)
    policy.route([named(4)], [1.0], cluster(first))
    assert policy.cached_tokens(replace(named(1), id="again"), "a") == 0
    assert policy.cached_tokens(replace(named(2), id="more"), "a") == 159
