"""Where policies meet: one law for each pair of decisions that touch, and what breaks it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.batch import BatchEngine
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.engine.request import Request
from parallax.policies.registry import ROUTING
from parallax.policies.routing.parallel_prefix import rooms
from parallax.policies.testing import cluster
from parallax.policies.testing import job as view
from parallax.policies.testing import worker as seen
from parallax.scheduling.actions import Action, Dispatch, SaveAccounts, Steal
from parallax.scheduling.events import AttemptEnded, Event, JobArrived, WorkerReported
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from parallax.sim.binding import EAGER, LATE, routed
from parallax.sim.experiments.servers import job, offered, poisson, run
from parallax.sim.spec import FaultSpec, FleetSpec
from parallax.sim.timed import Timed

Choice = PolicyChoice


def started(jobs: list[Timed], policies: Policies, servers: int = 1, **more: object) -> list[str]:
    """Return the jobs in the order in which they were dispatched for the last time."""
    done = run(jobs, servers, policies, **more)  # type: ignore[arg-type]
    return [one.id for one in sorted(done.jobs, key=lambda one: (one.dispatched_s, one.id))]


# -- fairness x ordering ------------------------------------------------------------------------


def share_of_the_long(one_tenant: bool) -> float:
    """Serve short and long jobs by SJF; return the long ones' part of the first half served."""
    names = ("short", "short" if one_tenant else "long")
    jobs = [(0.0, job(n, 0.1, tenant=names[0])) for n in range(400)]
    jobs += [(0.0, job(1_000 + n, 2.0, tenant=names[1])) for n in range(20)]
    policies = replace(LATE, fairness=Choice("fair_queuing"), ordering=Choice("sjf"))
    order = started(jobs, policies)
    lengths = {one.id: (one.output_tokens or 0) / 100 for _, one in jobs}
    served = np.cumsum([lengths[name] for name in order])
    half = order[: int(np.searchsorted(served, 40.0)) + 1]
    return sum(lengths[name] for name in half if lengths[name] > 1) / 40.0


def test_short_jobs_overtake_within_their_tenant_only() -> None:
    assert share_of_the_long(one_tenant=False) == pytest.approx(0.5, abs=0.1)
    assert share_of_the_long(one_tenant=True) < 0.1


# -- ordering x placement -----------------------------------------------------------------------


def overtaken(prefetch: int) -> int:
    """Return how many long jobs, all there before it, go before a short one."""
    jobs = [(0.0, job(n, 1.0)) for n in range(30)] + [(0.5, job(99, 0.1))]
    gate = Choice("jbsq", {"prefetch": prefetch})
    policies = replace(LATE, ordering=Choice("sjf"), gate=gate)
    done = run(jobs, 1, policies)
    short = next(one for one in done.jobs if one.id == "j99")
    return sum(one.finished_s < short.finished_s for one in done.jobs)


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_what_is_bound_is_not_reordered_and_what_is_not_is(prefetch: int) -> None:
    assert overtaken(prefetch) == 1 + prefetch
    assert overtaken(1_000) == 30


# -- fairness x locality ------------------------------------------------------------------------


def shares(fairness: str, routing: str) -> float:
    """Return what a tenant whose prompts are cached was served while another waited as well."""
    jobs = [
        (0.0, replace(job(n + 1_000 * (name == "cold"), 0.2, tenant=name), prompt_tokens=64,
                      prefix=(1, 2, 3, 4) if name == "warm" else ()))
        for n in range(300) for name in ("warm", "cold")
    ]  # fmt: skip
    policies = routed(routing, replace(LATE, fairness=Choice(fairness)))
    done = run(sorted(jobs, key=lambda timed: timed[1].tenant, reverse=True), 2, policies)
    first = sorted(done.jobs, key=lambda one: one.finished_s)[:300]
    return sum(one.tenant == "warm" for one in first) / 300


@pytest.mark.dear
def test_a_cached_prompt_buys_no_more_service_than_its_lower_cost() -> None:
    """Who is next is decided before where: the bound of fairness does not grow with locality."""
    assert shares("fair_queuing", "kv_locality") == pytest.approx(
        shares("fair_queuing", "random"), abs=0.15
    )
    assert shares("fifo", "kv_locality") > 0.95, "the control: the first in line has it all"


# -- admission x autoscaling --------------------------------------------------------------------


def workers_in_the_end(jobs: list[Timed], admission: Choice) -> int:
    policies = replace(
        LATE, admission=admission, scaling=Choice("sqrt_staffing", {"stable_s": 30.0})
    )
    done = run(jobs, 2, policies, fleet=FleetSpec(startup_s=5.0))
    return done.samples[-1].workers


@pytest.mark.dear
def test_scaling_sees_what_was_refused() -> None:
    strict = Choice("thresholds", {"max_jobs": 1})
    jobs = poisson(1_600, 8.0, 1)
    refused = {one.id for one in run(jobs, 2, replace(LATE, admission=strict)).jobs
               if one.outcome == "rejected"}  # fmt: skip
    assert len(refused) > 800
    assert workers_in_the_end(jobs, strict) >= 9
    admitted = [timed for timed in jobs if timed[1].id not in refused]
    assert workers_in_the_end(admitted, strict) <= 6, "the control: only the admitted are seen"


# -- hedging ------------------------------------------------------------------------------------


def hedges(load: float, saturation: float) -> float:
    hedging = Choice("percentile", {"saturation": saturation, "min_samples": 50})
    slow = FleetSpec(straggler_share=0.05)
    jobs = poisson(1_500, 4 * load, 2)
    done = run(jobs, 4, replace(EAGER, hedging=hedging), fleet=slow)
    return done.counters["hedges"] / len(jobs)


@pytest.mark.slow
def test_a_full_fleet_does_not_hedge() -> None:
    assert hedges(0.9, saturation=0.8) < 0.3 * hedges(0.9, saturation=1_000.0)
    assert hedges(0.4, saturation=0.8) > 0.01


def driven(policies: Policies, workers: list[WorkerReported]) -> Scheduler:
    """Return a scheduler that has seen enough jobs to know what is usual."""
    scheduler = build_scheduler(policies, 0)
    scheduler.handle(list(workers), 0.0)
    for n in range(30):
        now = float(n)
        for action in scheduler.handle([arrived(f"w{n}", now)], now):
            if isinstance(action, Dispatch):
                scheduler.handle([ended(action, 1.0)], now + 0.5)
    return scheduler


def arrived(name: str, now: float, **more: object) -> JobArrived:
    return JobArrived(JobView(name, "acme", 100, 100, now, **more), name)  # type: ignore[arg-type]


def ended(action: Dispatch, seconds: float, output: int = 50) -> AttemptEnded:
    usage = Usage(100, output, 0, seconds, 0.1)
    return AttemptEnded(
        action.job_id, "acme", action.worker, action.attempt, action.estimate, Outcome.COMPLETED,
        usage,
    )  # fmt: skip


HEDGED = replace(EAGER, hedging=Choice("percentile", {"min_samples": 10, "budget": 1.0}),
                 fairness=Choice("fair_queuing"), routing=Choice("least_loaded"))  # fmt: skip


def second_attempt(other: WorkerReported) -> tuple[Scheduler, list[Action], Dispatch]:
    """Let an attempt be late beside another worker; return what is done about it."""
    scheduler = driven(HEDGED, [WorkerReported("w1", slots=4)])
    (first,) = [a for a in scheduler.handle([arrived("late", 40.0)], 40.0)
                if isinstance(a, Dispatch)]  # fmt: skip
    scheduler.handle([other], 40.0)
    return scheduler, scheduler.handle([], 60.0), first


@pytest.mark.parametrize(
    ("other", "allowed"),
    [
        (WorkerReported("w2", slots=4), True),
        (WorkerReported("w2", slots=4, version="v2"), False),
        (WorkerReported("w2", slots=4, role="decode"), False),
    ],
)
def test_a_second_attempt_stays_within_version_and_pool(
    other: WorkerReported, allowed: bool
) -> None:
    _, actions, _ = second_attempt(other)
    assert any(isinstance(action, Dispatch) and action.hedge for action in actions) == allowed


def test_both_attempts_are_charged_to_the_tenant() -> None:
    scheduler, actions, first = second_attempt(WorkerReported("w2", slots=4))
    (second,) = [action for action in actions if isinstance(action, Dispatch)]
    before = account(scheduler, [ended(second, 1.0)], 61.0)
    loser = AttemptEnded("late", "acme", "w1", 1, first.estimate, None, Usage(100, 30, 0, 20.0))
    after = account(scheduler, [loser], 61.5)
    assert after - before == pytest.approx(100 + 2 * 30 - first.estimate)
    scheduler, actions, first = second_attempt(WorkerReported("w2", slots=4))
    (second,) = [action for action in actions if isinstance(action, Dispatch)]
    before = account(scheduler, [ended(second, 1.0)], 61.0)
    idle = AttemptEnded("late", "acme", "w1", 1, first.estimate, None, Usage(100, 0, 100, 20.0))
    free = account(scheduler, [idle], 61.5) - before
    assert free == pytest.approx(-first.estimate), "the control: what did nothing costs nothing"


def account(scheduler: Scheduler, events: list[Event], now: float) -> float:
    (saved,) = [a for a in scheduler.handle(events, now) if isinstance(a, SaveAccounts)]
    return saved.accounts["acme"]


# -- stealing x versions, sessions, caches ------------------------------------------------------


def stolen(thief: WorkerReported, sessions: list[str], policy: str = "longest_victim") -> list[str]:
    """Bind four jobs to a worker with one slot, let an idle one join, return what it takes."""
    policies = replace(EAGER, stealing=Choice(policy), routing=Choice("kv_locality"))
    scheduler = driven(policies, [WorkerReported("w1", slots=1, kv_capacity=100_000)])
    events = [arrived(f"s{n}", 40.0, session=session) for n, session in enumerate(sessions)]
    scheduler.handle(events, 40.0)
    return [a.job_id for a in scheduler.handle([thief], 41.0) if isinstance(a, Steal)]


def test_a_thief_takes_from_its_own_version_and_pool() -> None:
    apart = ["", "", "", ""]
    assert stolen(WorkerReported("w2", slots=1), apart)
    assert not stolen(WorkerReported("w2", slots=1, version="v2"), apart)
    assert not stolen(WorkerReported("w2", slots=1, role="decode"), apart)


def test_turns_of_a_session_stay_in_their_order() -> None:
    assert stolen(WorkerReported("w2", slots=1), ["x", "x", "x", "x"]) == []
    assert stolen(WorkerReported("w2", slots=1), ["x", "y", "z", "x"]) == ["s2", "s1"]


def cached(policy: str) -> int:
    """Return how many jobs are taken away from where their long prompts are cached."""
    stealing = Choice(policy, {"s_per_token": 0.1} if policy == "affinity_gain" else {})
    policies = replace(EAGER, stealing=stealing, routing=Choice("kv_locality"))
    scheduler = driven(policies, [WorkerReported("w1", slots=1, kv_capacity=1_000_000)])
    names = tuple(range(1, 2_001))
    jobs = [JobView(f"c{n}", "acme", 32_000, 100, 40.0, prefix=names) for n in range(4)]
    scheduler.handle([JobArrived(one, one.id) for one in jobs[:1]], 40.0)
    scheduler.handle([JobArrived(one, one.id) for one in jobs[1:]], 40.1)
    idle = WorkerReported("w2", slots=1, kv_capacity=1_000_000)
    return sum(isinstance(action, Steal) for action in scheduler.handle([idle], 41.0))


def test_a_job_is_left_where_its_cache_is_worth_more_than_its_wait() -> None:
    assert cached("affinity_gain") == 0
    assert cached("longest_victim") > 0


# -- prefix sums x affinity ---------------------------------------------------------------------


def homes_kept(sessions: int) -> tuple[float, float]:
    """Place two batches of the same sessions; return who stayed, and the worst load over room."""
    policy = ROUTING.build("parallel_prefix", {"sessions": sessions})
    random, workers = Random(4), 8
    places: list[list[str | None]] = []
    worst = 0.0
    for turn in range(2):
        jobs = [view(turn * 1_000 + n, session=f"s{n}") for n in random.sample(range(200), 200)]
        costs = [random.lognormvariate(0.0, 0.8) for _ in jobs]
        fleet = cluster(*(seen(n, slots=1_000, free=1_000) for n in range(workers)))
        routes = policy.route(jobs, costs, fleet)
        by_session = {one.session: route for one, route in zip(jobs, routes, strict=True)}
        places.append([by_session[f"s{n}"] for n in range(200)])
        load = [sum(c for c, r in zip(costs, routes, strict=True) if r == w.id)
                for w in fleet.workers]  # fmt: skip
        room = rooms(sum(costs), np.ones(workers), np.zeros(workers))
        worst = max(worst, float(np.abs(np.array(load) - room).max() / max(costs)))
    return sum(a == b for a, b in zip(*places, strict=True)) / 200, worst


def test_sessions_go_home_as_far_as_there_is_room_and_the_bound_holds() -> None:
    kept, worst = homes_kept(sessions=1_000)
    assert kept > 0.7
    assert worst <= 1.0 + 1e-9
    assert homes_kept(sessions=0)[0] < 0.3


# -- batching x ordering ------------------------------------------------------------------------


def passed(kv_capacity: int) -> bool:
    """Let a long prompt stand before a short one; return if the short one is done early."""
    cost = StepCost(1.0, 0.001, 0.001, 0.0, 0.0)
    engine = BatchEngine(Profile("small", cost, kv_capacity, max_seqs=8))
    engine.add(Request("running", "", 600, 200, 200))
    engine.run_until(5.0)
    engine.add(Request("long", "", 600, 2, 2))
    engine.add(Request("short", "", 16, 1, 1))
    done = [change.id for change in engine.run_until(1_000.0) if change.finished]
    assert len(done) == 3
    return done.index("short") < done.index("running")


def test_nobody_passes_a_head_that_does_not_fit_yet() -> None:
    assert not passed(1_024)
    assert passed(100_000), "the control: the head fits, and nobody has to wait behind it"


# -- autoscaling x affinity, death x everything -------------------------------------------------


@pytest.mark.dear
def test_scaling_down_drains_and_a_crash_does_not() -> None:
    wave = [(at, job(n, s)) for n, (at, s) in enumerate(offered(800, 8.0, 1))]
    calm = [(at + 110.0, job(10_000 + n, s)) for n, (at, s) in enumerate(offered(400, 1.0, 2))]
    shrinking = replace(LATE, scaling=Choice("sqrt_staffing", {"stable_s": 30.0}))
    fleet = FleetSpec(startup_s=5.0)
    drained = run(wave + calm, 12, shrinking, fleet=fleet)
    assert drained.samples[-1].workers < 8
    assert drained.counters["retries"] == 0
    faults = tuple(FaultSpec("crash", f"w{n:04d}", 50.0) for n in range(4))
    crashed = run(wave + calm, 12, LATE, faults=faults)
    assert crashed.counters["retries"] > 0, "the control"
    for done in (drained, crashed):
        assert {one.outcome for one in done.jobs} == {"completed"}


def passed_by_younger(ordering: Choice) -> int:
    """Return how many younger jobs that waited go before a job whose worker has crashed."""
    jobs = poisson(600, 3.8, 5)
    faults = tuple(FaultSpec("crash", f"w000{n}", 60.0, 5.0, detect_s=1.0) for n in (1, 2))
    done = run(jobs, 4, replace(LATE, ordering=ordering), faults=faults)
    orphans = [one for one in done.jobs if one.attempts > 1]
    assert orphans
    waiting = [one for one in done.jobs if one.dispatched_s > 61.0]
    return sum(
        other.arrival_s > one.arrival_s and other.dispatched_s < one.dispatched_s
        for one in orphans
        for other in waiting
    )


@pytest.mark.dear
def test_orphans_return_to_the_place_that_their_arrival_gives_them() -> None:
    assert passed_by_younger(Choice("fcfs")) == 0
    shortest_first = Choice("sjf", {"ageing_s": 1e6})  # blind to arrivals: the control
    assert passed_by_younger(shortest_first) > 0
