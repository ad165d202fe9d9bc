"""Made-up loads: the same for the same seed, at the rate and with the shares asked for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import inf, nan, sqrt
from random import Random
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.producers.load.workload import Lengths, Workload, parsed_shares
from parallax.sim.timed import Timed
from tests.examples import examples

MANY = 4_000


def load(count: int = MANY, **options: Any) -> list[Timed]:
    return list(Workload(options.pop("rate", 100.0), **options).jobs(count=count))


def gaps(timed: list[Timed]) -> list[float]:
    times = [0.0, *(at for at, _ in timed)]
    return [later - earlier for earlier, later in pairwise(times)]


def test_the_same_seed_gives_the_same_load() -> None:
    options = {"shares": {"a": 2.0, "b": 1.0}, "sessions": 3, "seed": 7}
    assert load(200, **options) == load(200, **options)


def test_another_seed_gives_another_load() -> None:
    assert load(200, seed=7) != load(200, seed=8)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("rate", [5.0, 500.0])
@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_jobs_come_at_the_rate_with_the_variation_asked_for(rate: float, cv: float) -> None:
    between = gaps(load(rate=rate, cv=cv, seed=1))
    assert min(between) >= 0
    assert fmean(between) == pytest.approx(1 / rate, rel=5 * cv / sqrt(MANY))
    assert pstdev(between) / fmean(between) == pytest.approx(cv, rel=0.15)


def test_tenants_send_their_shares() -> None:
    sent = Counter(job.tenant for _, job in load(shares={"gold": 6.0, "silver": 3.0, "tin": 1.0}))
    assert {t: n / MANY for t, n in sent.items()} == pytest.approx(
        {"gold": 0.6, "silver": 0.3, "tin": 0.1}, abs=0.03
    )


def test_jobs_have_ids_of_their_own_in_the_order_of_time() -> None:
    ids = [job.id for _, job in load(50, prefix="run")]
    assert ids == [f"run-{n}" for n in range(50)]


def test_without_sessions_every_job_stands_alone() -> None:
    assert {job.session for _, job in load(100)} == {""}


def test_a_session_belongs_to_one_tenant() -> None:
    jobs = [job for _, job in load(500, shares={"a": 1.0, "b": 1.0}, sessions=4)]
    assert {job.session for job in jobs} == {f"{t}-s{n}" for t in "ab" for n in range(4)}
    assert all(job.session.startswith(f"{job.tenant}-") for job in jobs)


def test_the_longest_tenant_name_still_gives_valid_sessions() -> None:
    assert all(len(job.session) <= 64 for _, job in load(20, shares={"t" * 64: 1.0}, sessions=9))


def test_the_producer_promises_the_longest_answer_and_not_the_true_one() -> None:
    jobs = [job for _, job in load(200, output=Lengths(50, most=300))]
    assert {job.max_tokens for job in jobs} == {300}
    assert len({job.output_tokens for job in jobs}) > 20


def test_deadlines_are_passed_on() -> None:
    assert {job.deadline_s for _, job in load(20, deadline_s=2.5)} == {2.5}
    assert {job.deadline_s for _, job in load(20)} == {None}


@pytest.mark.parametrize("count", [0, 1, 17])
def test_a_load_of_so_many_jobs(count: int) -> None:
    assert len(load(count)) == count


def test_a_load_of_so_many_seconds() -> None:
    timed = list(Workload(50.0, seed=3).jobs(duration_s=10.0))
    assert all(0 < at <= 10.0 for at, _ in timed)
    assert len(timed) == pytest.approx(500, abs=100)


def test_a_load_ends_at_whichever_comes_first() -> None:
    assert len(list(Workload(100.0).jobs(count=5, duration_s=1000.0))) == 5
    assert list(Workload(1.0).jobs(count=5, duration_s=0.0)) == []


@pytest.mark.parametrize("rate", [0.0, -1.0, nan, inf, 1e7])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(InvalidInput, match="rate"):
        load(1, rate=rate)


@pytest.mark.parametrize("cv", [0.0, -1.0, nan, inf])
def test_a_variation_that_cannot_be_is_refused(cv: float) -> None:
    with pytest.raises(InvalidInput, match="cv"):
        load(1, cv=cv)


# -- lengths


@pytest.mark.dear
@settings(max_examples=examples(100), deadline=None)
@given(
    mean=st.floats(1, 1e7), cv=st.floats(0, 20), most=st.integers(1, 10_000_000), seed=st.integers()
)
def test_lengths_stay_in_bounds(mean: float, cv: float, most: int, seed: int) -> None:
    random = Random(seed)
    assert all(1 <= Lengths(mean, cv, most).draw(random) <= most for _ in range(20))


def test_lengths_have_the_mean_and_spread_asked_for() -> None:
    drawn = [job.prompt_tokens for _, job in load(prompt=Lengths(300, 0.5, most=1_000_000))]
    assert fmean(drawn) == pytest.approx(300, rel=0.05)
    assert pstdev(drawn) / fmean(drawn) == pytest.approx(0.5, rel=0.15)


def test_lengths_without_spread_are_all_the_mean() -> None:
    assert {job.prompt_tokens for _, job in load(20, prompt=Lengths(42, 0.0))} == {42}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((0.5,), "mean length"),
        ((nan,), "mean length"),
        ((1e8,), "mean length"),
        ((10.0, -0.1), "cv of lengths"),
        ((10.0, nan), "cv of lengths"),
        ((10.0, 1.0, 0), "longest length"),
        ((10.0, 1.0, 2.5), "longest length"),
    ],
)
def test_lengths_that_cannot_be_are_refused(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Lengths(*arguments)


# -- shares as text


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("acme", {"acme": 1.0}),
        ("acme:4,bob:1", {"acme": 4.0, "bob": 1.0}),
        (" acme:0.5 , bob ", {"acme": 0.5, "bob": 1.0}),
    ],
)
def test_shares_are_read(text: str, shares: dict[str, float]) -> None:
    assert parsed_shares(text) == shares


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "tenant"),
        ("a,,b", "tenant"),
        ("a b", "tenant"),
        ("a:1,a:2", "tenant"),
        (":1", "tenant"),
        ("a:", "share of a"),
        ("a:x", "share of a"),
        ("a:0", "share of a"),
        ("a:-1", "share of a"),
        ("a:nan", "share of a"),
        ("a:inf", "share of a"),
        ("a:1:2", "share of a"),
    ],
)
def test_bad_shares_are_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed_shares(text)
    assert caught.value.field == field


@settings(max_examples=examples(200), deadline=None)
@given(text=st.text(st.sampled_from("ab:,.-1e 9n"), max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        shares = parsed_shares(text)
    except InvalidInput:
        return
    assert shares
    assert all(share > 0 for share in shares.values())
