"""Admission by rate, by wait and by chance: who is let in, who is shed, what is remembered."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.model import Rejection
from parallax.core.reasons import Reason
from parallax.policies.admission.aimd_on_wait import AimdOnWait
from parallax.policies.admission.chain import Chain
from parallax.policies.admission.codel import Codel
from parallax.policies.admission.probabilistic import Probabilistic
from parallax.policies.admission.thresholds import Thresholds
from parallax.policies.admission.token_bucket import SWEEP, TokenBucket
from parallax.policies.testing import job, queue
from tests.examples import examples


def test_a_bucket_says_when_it_will_hold_enough() -> None:
    policy = TokenBucket(rate=100.0, burst=1_000.0)
    assert policy.admit(job(), 900.0, queue(), 0.0) is None
    assert policy.admit(job(), 300.0, queue(), 0.0) == Rejection(Reason.RATE_LIMITED, 2.0)
    assert policy.admit(job(), 300.0, queue(), 1.99) is not None
    assert policy.admit(job(), 300.0, queue(), 2.01) is None


def test_a_job_that_never_fits_the_bucket_is_told_so() -> None:
    rejection = TokenBucket(rate=100.0, burst=1_000.0).admit(job(), 1_001.0, queue(), 0.0)
    assert rejection is not None
    assert rejection.reason == "larger_than_burst"


def test_tenants_have_buckets_of_their_own_and_settle_with_them() -> None:
    policy = TokenBucket(rate=1.0, burst=100.0)
    assert policy.admit(job(tenant="a"), 100.0, queue(), 0.0) is None
    assert policy.admit(job(tenant="b"), 100.0, queue(), 0.0) is None
    policy.settled("a", -60.0)
    assert policy.admit(job(tenant="a"), 60.0, queue(), 0.0) is None
    assert policy.admit(job(tenant="b"), 60.0, queue(), 0.0) is not None


@pytest.mark.dear
def test_full_buckets_are_forgotten() -> None:
    policy = TokenBucket(rate=1_000.0, burst=1_000.0)
    for n in range(20 * SWEEP):
        assert policy.admit(job(tenant=f"t{n}"), 500.0, queue(), float(n)) is None
    assert len(policy._buckets) <= 2 * SWEEP + 2


@given(
    gaps=st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(1.0, 400.0)), max_size=80),
    rate=st.floats(1.0, 200.0),
)
@settings(max_examples=examples(80), deadline=None)
def test_what_is_admitted_in_any_window_stays_below_the_envelope(
    gaps: list[tuple[float, float]], rate: float
) -> None:
    policy, now, admitted = TokenBucket(rate=rate, burst=500.0), 0.0, list[tuple[float, float]]()
    for gap, cost in gaps:
        now += gap
        if policy.admit(job(), cost, queue(), now) is None:
            admitted.append((now, cost))
    for first, (start, _) in enumerate(admitted):
        total = 0.0
        for end, cost in admitted[first:]:
            total += cost
            assert total <= 500.0 + rate * (end - start) + 1e-6


def test_codel_leaves_a_burst_alone_and_sheds_a_standing_queue() -> None:
    policy = Codel(target_s=0.5, interval_s=5.0)
    burst = [policy.dispatching(job(), 3.0, at * 0.1) for at in range(49)]
    assert burst == [None] * 49
    assert policy.dispatching(job(), 0.1, 4.95) is None  # it drained in time
    shed = [policy.dispatching(job(), 3.0, 5.0 + at * 0.1) is not None for at in range(400)]
    assert not any(shed[:50])
    assert sum(shed[50:200]) < sum(shed[200:350])  # faster and faster
    assert policy.dispatching(job(), 0.1, 46.0) is None
    assert policy.dispatching(job(), 3.0, 46.1) is None


def test_codel_sheds_bulk_work_first() -> None:
    policy = Codel(target_s=0.5, interval_s=5.0)
    for at in range(6):
        policy.dispatching(job(), 3.0, float(at))
    assert policy.dispatching(job(priority=0), 3.0, 5.1) is None
    assert policy.dispatching(job(priority=-1), 3.0, 5.1) is not None


def test_aimd_lowers_the_limit_on_long_waits_and_raises_it_when_it_is_hit() -> None:
    policy = AimdOnWait(target_s=1.0, window=10, least=4)
    start = policy._limit
    for n in range(10):
        policy.dispatching(job(), 2.0, n * 0.01)
    assert policy._limit == pytest.approx(0.9 * start)
    for n in range(10):
        policy.dispatching(job(), 0.1, 1 + n * 0.01)
    assert policy._limit == pytest.approx(0.9 * start), "it was not reached: nothing was learnt"
    assert policy.admit(job(), 1.0, queue(total_jobs=10**6), 2.0) is not None
    for n in range(10):
        policy.dispatching(job(), 0.1, 2 + n * 0.01)
    assert policy._limit == pytest.approx(0.9 * start + 1)
    for n in range(2_000):
        policy.dispatching(job(), 9.0, 3 + n * 0.01)
    assert policy._limit == 4
    assert policy.admit(job(), 1.0, queue(total_jobs=3), 50.0) is None


def test_only_what_may_be_dropped_is_dropped_with_the_probability_of_the_formula() -> None:
    policy = Probabilistic()
    policy.seed(Random(5))
    busy = queue(total_jobs=4, workers=4, kv_used=0.0)  # one per worker of five: 0.2
    refused = [policy.admit(job(priority=-1), 1.0, busy, 0.0) is not None for _ in range(4_000)]
    assert sum(refused) / 4_000 == pytest.approx(300 * 0.2**5, abs=0.02)
    full = queue(total_jobs=100, workers=4, kv_used=0.9)
    assert all(policy.admit(job(priority=-1), 1.0, full, 0.0) for _ in range(100))
    assert not any(policy.admit(job(priority=0), 1.0, full, 0.0) for _ in range(100))


def test_a_chain_asks_all_and_the_first_refusal_counts() -> None:
    bucket = TokenBucket(rate=1.0, burst=100.0)
    chain = Chain((Thresholds(max_jobs=5), Codel(target_s=0.5, interval_s=5.0), bucket))
    assert chain.admit(job(), 60.0, queue(total_jobs=5), 0.0) == Rejection(Reason.QUEUE_FULL)
    assert chain.admit(job(), 60.0, queue(), 0.0) is None
    refused = chain.admit(job(), 60.0, queue(), 0.0)
    assert refused is not None
    assert refused.reason == "rate_limited"
    chain.settled("acme", -60.0)
    assert chain.admit(job(), 60.0, queue(), 0.0) is None
    shed = [chain.dispatching(job(), 3.0, float(at)) for at in range(7)]
    assert any(shed)
