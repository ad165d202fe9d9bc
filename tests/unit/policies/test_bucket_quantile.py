"""Predicting lengths from those of similar jobs, and never from the future."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.prediction.bucket_quantile import BucketQuantile
from parallax.policies.testing import job


def taught(policy: BucketQuantile, lengths: list[int], **fields: Any) -> BucketQuantile:
    for n, length in enumerate(lengths):
        policy.learn(job(n, **fields), length)
    return policy


def test_without_experience_it_is_a_quarter_of_the_longest() -> None:
    assert BucketQuantile().predict(job(max_tokens=400)) == 100.0
    assert BucketQuantile().predict(job(max_tokens=1)) == 1.0


def test_it_converges_to_the_quantile_of_similar_jobs() -> None:
    random = Random(1)
    lengths = [random.randint(50, 150) for _ in range(500)]
    assert taught(BucketQuantile(), lengths).predict(job()) == pytest.approx(100, abs=5)
    assert taught(BucketQuantile(quantile=0.9), lengths).predict(job()) == pytest.approx(140, abs=5)


def test_buckets_are_told_apart_by_tenant_and_prompt() -> None:
    policy = taught(BucketQuantile(), [10] * 300, tenant="short")
    taught(policy, [300] * 300, tenant="long")
    assert policy.predict(job(tenant="short")) < 50
    assert policy.predict(job(tenant="long")) > 250


def test_the_longest_answer_bounds_every_prediction() -> None:
    policy = taught(BucketQuantile(), [10_000] * 100)
    assert policy.predict(job(max_tokens=7)) == 7.0


def test_memory_is_bounded() -> None:
    policy = BucketQuantile(max_buckets=50, window=10)
    for n in range(1_000):
        policy.learn(job(n, tenant=f"t{n}"), 5)
    assert len(policy._buckets) == 50
    assert len(policy._all.lengths) == 10


@pytest.mark.parametrize(
    ("field", "value"), [("quantile", 1.1), ("window", 0), ("shrink", -1.0), ("max_buckets", 0)]
)
def test_parameters_are_checked(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=rf"bucket_quantile\.{field}"):
        BucketQuantile(**{field: value})  # type: ignore[arg-type]
