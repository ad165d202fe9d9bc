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


@pytest.mark.parametrize("fields", [{"model": "long"}, {"max_tokens": 4_000}], ids=str)
def test_buckets_are_told_apart_by_model_and_by_what_may_be_said(fields: dict[str, Any]) -> None:
    policy = taught(BucketQuantile(), [10] * 300)
    taught(policy, [300] * 300, **fields)
    assert policy.predict(job()) < 50
    assert policy.predict(job(**fields)) > 250


def test_a_new_tenant_is_expected_to_be_as_others_of_the_model_are() -> None:
    policy = taught(BucketQuantile(), [10] * 400, model="terse")
    taught(policy, [300] * 400, model="wordy")
    assert policy.predict(job(tenant="new", model="terse")) < 50
    assert policy.predict(job(tenant="new", model="wordy")) > 250


def test_the_control_without_models_a_new_tenant_gets_the_mean_of_all() -> None:
    policy = taught(taught(BucketQuantile(), [10] * 400), [300] * 400)
    assert policy.predict(job(tenant="new")) == policy.predict(job(tenant="newer"))


def test_what_it_remembers_is_told_apart_again() -> None:
    policy = taught(taught(BucketQuantile(), [10] * 300, model="a"), [300] * 300, model="b")
    heir = BucketQuantile()
    heir.recall(policy.remember())
    assert heir.predict(job(model="a")) < 60 < 240 < heir.predict(job(model="b"))


def test_the_memory_of_a_former_release_is_read() -> None:
    heir = BucketQuantile()
    heir.recall({"all": [80] * 40, "buckets": [["acme", 7, [80] * 40]]})
    assert heir.predict(job()) == 80.0


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
