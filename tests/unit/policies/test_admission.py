"""Thresholds refuse with the right word, just above the limit and not just below it."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.admission.thresholds import Thresholds
from parallax.policies.admission.unlimited import Unlimited
from parallax.policies.testing import job, queue

LIMITS = Thresholds(
    max_jobs_per_tenant=10, max_jobs=100, max_cost_per_tenant=1_000.0, max_cost=5_000.0, max_kv=0.9
)


@pytest.mark.parametrize(
    ("below", "above", "reason"),
    [
        ({"tenant_jobs": 9}, {"tenant_jobs": 10}, "tenant_queue_full"),
        ({"total_jobs": 99}, {"total_jobs": 100}, "queue_full"),
        ({"tenant_cost": 950.0}, {"tenant_cost": 950.1}, "tenant_cost_full"),
        ({"total_cost": 4_950.0}, {"total_cost": 4_950.1}, "cost_full"),
        (
            {"kv_used": 0.9, "total_jobs": 1},
            {"kv_used": 0.91, "total_jobs": 1},
            "memory_full",
        ),
    ],
)
def test_each_threshold_has_an_edge_and_a_word(
    below: dict[str, Any], above: dict[str, Any], reason: str
) -> None:
    assert LIMITS.admit(job(), 50.0, queue(**below), 0.0) is None
    refusal = LIMITS.admit(job(), 50.0, queue(**above), 0.0)
    assert refusal is not None
    assert refusal.reason == reason
    assert refusal.retry_after_s > 0
    assert Unlimited().admit(job(), 50.0, queue(**above), 0.0) is None


def test_full_memory_does_not_lock_the_door_of_an_idle_system() -> None:
    assert LIMITS.admit(job(), 50.0, queue(kv_used=1.0), 0.0) is None


@pytest.mark.parametrize(
    "field", ["max_jobs_per_tenant", "max_jobs", "max_cost_per_tenant", "max_cost", "max_kv"]
)
def test_limits_are_checked(field: str) -> None:
    with pytest.raises(InvalidInput, match=rf"thresholds\.{field}"):
        Thresholds(**{field: -1})
