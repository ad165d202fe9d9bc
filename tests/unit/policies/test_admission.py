"""Thresholds refuse with the right word, just above the limit and not just below it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import JobView
from parallax.core.reasons import Reason
from parallax.core.settings import Policies
from parallax.policies.admission.probabilistic import Probabilistic
from parallax.policies.admission.thresholds import Thresholds
from parallax.policies.admission.unlimited import Unlimited
from parallax.policies.testing import job, queue
from parallax.scheduling.actions import Reject
from parallax.scheduling.events import JobArrived, WorkerReported
from parallax.scheduling.scheduler import Scheduler, build_scheduler

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


def test_full_memory_is_charged_to_who_holds_it() -> None:
    full = {"kv_used": 1.0, "total_jobs": 1_000}
    flooder, quiet = queue(**full, memory_part=1.9), queue(**full, memory_part=0.1, tenant_jobs=3)
    for policy in (LIMITS, Thresholds()):
        refusal = policy.admit(job(), 50.0, replace(flooder, total_jobs=50), 0.0)
        assert refusal is not None
        assert refusal.reason is Reason.MEMORY_FULL
        assert policy.admit(job(), 50.0, replace(quiet, total_jobs=50), 0.0) is None


def test_bulk_work_makes_room_where_its_tenant_takes_it() -> None:
    policy, bulk = Probabilistic(), job(priority=-1)
    assert policy.admit(bulk, 50.0, queue(kv_used=1.0, memory_part=1.0), 0.0) is not None
    assert policy.admit(bulk, 50.0, queue(kv_used=1.0, memory_part=0.9), 0.0) is None


def decided(scheduler: Scheduler, *jobs: JobView) -> set[str]:
    """Offer jobs; return which were refused because memory is full."""
    actions = scheduler.handle([JobArrived(one, one.id) for one in jobs], 1.0)
    return {a.job_id for a in actions if isinstance(a, Reject) and a.reason == "memory_full"}


def test_a_flood_of_long_prompts_locks_nobody_else_out() -> None:
    scheduler = build_scheduler(Policies(), 1)
    full = WorkerReported("w1", 8, kv_used=0.99, kv_capacity=80_000)
    scheduler.handle([full], 1.0)
    floods = [job(n, "flood", prompt_tokens=7_900) for n in range(30)]
    quiet = [job(100 + n, "quiet", prompt_tokens=20, max_tokens=20) for n in range(10)]
    decided(scheduler, *floods)
    assert decided(scheduler, *quiet) == set()
    more = [job(200 + n, "flood", prompt_tokens=7_900) for n in range(5)]
    assert decided(scheduler, *more) == {one.id for one in more}
    alone = build_scheduler(Policies(), 1)
    alone.handle([full], 1.0)
    decided(alone, *floods)
    assert decided(alone, *more) == {one.id for one in more}, "who is alone causes all of it"
