"""The scheduler by example: read this first. Events go in, actions come out, and that is all."""

from __future__ import annotations

import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.core.settings import Policies, PolicyChoice
from parallax.scheduling.actions import Admitted, Dispatch, Expire, Reject, SaveAccounts
from parallax.scheduling.events import (
    AttemptEnded,
    JobArrived,
    TenantConfigured,
    WorkerLost,
    WorkerReported,
)
from parallax.scheduling.scheduler import Scheduler, build_scheduler


def job(name: str, tenant: str = "acme", tokens: int = 100, **fields: float) -> JobView:
    return JobView(name, tenant, tokens, max_tokens=400, arrival=0.0, **fields)  # type: ignore[arg-type]


def arrived(view: JobView) -> JobArrived:
    return JobArrived(view, entry=f"entry of {view.id}")


def dispatched(actions: list) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    return [(a.job_id, a.worker) for a in actions if isinstance(a, Dispatch)]


@pytest.fixture
def scheduler() -> Scheduler:
    """Fair queuing, shortest job first, least loaded; seed 0."""
    return build_scheduler(Policies(), seed=0)


def test_a_job_waits_until_there_is_a_worker(scheduler: Scheduler) -> None:
    assert dispatched(scheduler.handle([arrived(job("j1"))], now=0.0)) == []
    assert dispatched(scheduler.handle([WorkerReported("w1", slots=2)], now=1.0)) == [("j1", "w1")]


def test_a_dispatch_says_all_that_a_driver_needs(scheduler: Scheduler) -> None:
    scheduler.handle([WorkerReported("w1", slots=2)], now=0.0)
    actions = scheduler.handle([arrived(job("j1"))], now=0.0)
    estimate = 100 + 2 * 100  # the prompt, and twice a quarter of the longest answer
    assert actions == [
        Admitted("j1", "acme"),
        Dispatch("j1", "acme", "entry of j1", "w1", attempt=1, estimate=estimate),
        SaveAccounts({"acme": estimate, "": 0.0}),  # virtual time is moved by what is paid only
    ]


def test_a_worker_holds_what_it_runs_and_one_more(scheduler: Scheduler) -> None:
    scheduler.handle([WorkerReported("w1", slots=2)], now=0.0)
    actions = scheduler.handle([arrived(job(f"j{n}")) for n in range(9)], now=0.0)
    assert len(dispatched(actions)) == 3
    assert scheduler.queued == 6


def test_an_end_frees_a_slot_and_settles_the_account(scheduler: Scheduler) -> None:
    scheduler.handle([WorkerReported("w1", slots=1), *map(arrived, map(job, "abcd"))], now=0.0)
    used = Usage(prompt_tokens=100, output_tokens=10, cached_tokens=40)
    ended = AttemptEnded("a", "acme", "w1", 1, 300.0, Outcome.COMPLETED, used)
    actions = scheduler.handle([ended], now=1.0)
    assert dispatched(actions) == [("c", "w1")]
    (saved,) = (a for a in actions if isinstance(a, SaveAccounts))
    true_a, guessed_b_and_c = (100 - 40) + 2 * 10, 300 + 300
    assert saved.accounts["acme"] == pytest.approx(true_a + guessed_b_and_c)


def test_the_shorter_job_goes_first_and_tenants_take_turns(scheduler: Scheduler) -> None:
    waiting = [job("long", tokens=5_000), job("short"), job("other", tenant="bob")]
    scheduler.handle([arrived(view) for view in waiting], now=0.0)
    actions = scheduler.handle([WorkerReported("w1", slots=2)], now=0.0)
    assert [name for name, _ in dispatched(actions)] == ["short", "other", "long"]


def test_a_tenant_of_weight_three_gets_three_times_as_much(scheduler: Scheduler) -> None:
    scheduler.handle([TenantConfigured("gold", 3.0)], now=0.0)
    both = [job(f"{t}{n}", t) for n in range(40) for t in ("gold", "bob")]
    scheduler.handle([arrived(view) for view in both], now=0.0)
    names = dispatched(scheduler.handle([WorkerReported("w1", slots=39)], now=0.0))
    assert sum(name.startswith("gold") for name, _ in names) == 30


def test_a_deadline_that_passes_while_the_job_waits_expires_it(scheduler: Scheduler) -> None:
    scheduler.handle([arrived(job("late", deadline=5.0))], now=0.0)
    assert scheduler.handle([], now=4.9) == []
    assert scheduler.handle([], now=5.1) == [Expire("late", "acme", "entry of late")]


def test_admission_refuses_with_a_reason() -> None:
    admission = PolicyChoice("thresholds", {"max_jobs_per_tenant": 1})
    scheduler = build_scheduler(Policies(admission=admission), seed=0)
    scheduler.handle([arrived(job("first"))], now=0.0)
    (refused,) = scheduler.handle([arrived(job("second"))], now=0.0)
    assert isinstance(refused, Reject)
    assert refused.reason == "tenant_queue_full"


def test_what_a_lost_worker_held_comes_back_as_a_new_arrival(scheduler: Scheduler) -> None:
    scheduler.handle([WorkerReported("w1", slots=2), arrived(job("j1"))], now=0.0)
    again = job("j1", attempt=1)
    actions = scheduler.handle(
        [WorkerLost("w1"), arrived(again), WorkerReported("w2", slots=2)], now=9.0
    )
    (dispatch,) = (a for a in actions if isinstance(a, Dispatch))
    assert (dispatch.worker, dispatch.attempt) == ("w2", 2)
