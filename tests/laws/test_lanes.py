"""Models are places: a full one never stands in front of an idle one, and the account stays one."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage, WorkerView
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.fairness.fair_queuing import MOST_CREDIT, FairQueuing
from parallax.policies.registry import FAIRNESS
from parallax.scheduling.actions import Dispatch, Steal
from parallax.scheduling.composition import compose
from parallax.scheduling.events import (
    AttemptEnded,
    Event,
    JobArrived,
    TenantConfigured,
    WorkerReported,
)
from parallax.scheduling.queues import Queued, Queues
from parallax.scheduling.room import Room
from parallax.scheduling.scheduler import Scheduler, build_scheduler

FAIR = sorted(FAIRNESS)
COST = 100 + 2 * 50


def policies(
    fairness: str = "fair_queuing", stealing: str = "never", prefetch: int = 0
) -> Policies:
    choice = PolicyChoice
    return Policies(
        choice("unlimited"), choice(fairness), choice("fcfs"),
        choice("jbsq", {"prefetch": prefetch}), routing=choice("least_loaded"),
        predictor=choice("bucket_quantile"), stealing=choice(stealing),
    )  # fmt: skip


class Town:
    """A scheduler and workers that serve each job for a second; it counts who was served."""

    def __init__(self, scheduler: Scheduler, workers: dict[str, tuple[str, ...]]) -> None:
        self.scheduler, self.now, self.made = scheduler, 0.0, 0
        self.served: Counter[tuple[str, str]] = Counter()  # tenant and model -> cost
        self.waits: dict[str, list[float]] = {}
        self.flying: list[Dispatch] = []
        self.jobs: dict[str, JobView] = {}
        self.gone = 0
        self.tell([WorkerReported(name, 1, models=models) for name, models in workers.items()])

    def tell(self, events: list[Event]) -> None:
        for action in self.scheduler.handle(events, self.now):
            if isinstance(action, Dispatch):
                job = self.jobs[action.job_id]
                self.flying.append(action)
                self.waits.setdefault(job.model, []).append(self.now - job.arrival)

    def ask(self, tenant: str, model: str, count: int = 1) -> None:
        events: list[Event] = []
        for _ in range(count):
            self.made += 1
            job = JobView(f"j{self.made}", tenant, 100, 50, self.now, model=model)
            self.jobs[job.id] = job
            events.append(JobArrived(job, f"{self.made}-0"))
        self.tell(events)

    def second(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.now += 1.0
            ended, self.flying = self.flying, []
            events: list[Event] = []
            for d in ended:
                job = self.jobs[d.job_id]
                self.served[job.tenant, job.model] += COST
                self.gone += 1
                events.append(
                    AttemptEnded(d.job_id, d.tenant, d.worker, d.attempt, d.estimate,
                                 Outcome.COMPLETED, Usage(100, 50, service_s=1.0))
                )  # fmt: skip
            self.tell(events)

    def cost(self, tenant: str = "", model: str = "") -> int:
        return sum(
            cost for (who, what), cost in self.served.items()
            if who == (tenant or who) and what == (model or what)
        )  # fmt: skip


class NoLanes(Room):
    """The control: all of a tenant's jobs stand in one line."""

    def open(self, lanes):  # type: ignore[no-untyped-def]
        return None if self else ()

    def take(self, model: str) -> None:
        kind = self._some(model)
        if kind is None:  # it is chosen in vain
            kind = next(kind for kind, left in self._left.items() if left)
        self._left[kind] -= 1


def of_b(fairness: str, flood: int) -> list[float]:
    """Return how long jobs for B wait while so many of the same tenant wait for A."""
    town = Town(build_scheduler(policies(fairness), 1), {"a1": ("A",), "b1": ("B",), "b2": ("B",)})
    if flood:
        town.ask("acme", "A", flood)
    random = Random(5)
    for _ in range(60):
        town.ask("acme", "B", random.choice((0, 1, 1, 2, 3)))
        town.second()
    return town.waits["B"]


@pytest.mark.parametrize("fairness", FAIR)
def test_a_full_model_does_not_stand_in_front_of_an_idle_one(fairness: str) -> None:
    assert of_b(fairness, 0) == of_b(fairness, 300)


@pytest.mark.interpreted("the control replaces a part of a compiled class")
def test_without_lanes_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parallax.scheduling.scheduler.Room", NoLanes)
    assert sum(of_b("fair_queuing", 300)[:20]) > sum(of_b("fair_queuing", 0)[:20])


def shares(scheduler: Scheduler, weights: dict[str, float], rounds: int = 300) -> Town:
    """`both` asks for A and B, `only` for A; each model has a worker of its own."""
    town = Town(scheduler, {"a1": ("A",), "b1": ("B",)})
    town.tell([TenantConfigured(name, weight) for name, weight in weights.items()])
    town.ask("both", "A", rounds)
    town.ask("both", "B", rounds)
    town.ask("only", "A", rounds)
    town.second(rounds)
    return town


@pytest.mark.parametrize("fairness", ["fair_queuing", "deficit_round_robin"])
def test_who_uses_two_models_pays_for_both_from_one_account(fairness: str) -> None:
    town = shares(build_scheduler(policies(fairness), 1), {"both": 1.0, "only": 1.0})
    assert town.cost(model="A") == town.cost(model="B") == 300 * COST  # nobody was idle
    assert town.cost("only") >= 0.95 * town.cost("both")  # B is for one alone, so A is the other's


class Accounts(FairQueuing):
    """The control: what a tenant has had is forgotten where it asks for another model."""

    def charge(self, tenant: str, cost: float) -> None:
        FairQueuing.charge(self, tenant, cost if len(self._lanes.get(tenant, {})) < 2 else 0.0)


@pytest.mark.interpreted("the control replaces a part of a compiled class")
def test_with_an_account_for_each_model_it_would_have_more() -> None:
    composed = compose(policies(), 1)
    object.__setattr__(composed, "fairness", Accounts())
    town = shares(Scheduler(composed), {"both": 1.0, "only": 1.0})
    assert town.cost("only") < 0.8 * town.cost("both")


@pytest.mark.parametrize("fairness", ["fair_queuing", "deficit_round_robin"])
def test_weights_hold_where_workers_serve_several_models(fairness: str) -> None:
    town = Town(build_scheduler(policies(fairness), 1), {"w1": ("A", "B"), "w2": ("B", "A")})
    town.tell([TenantConfigured("heavy", 4.0), TenantConfigured("light", 1.0)])
    town.ask("heavy", "A", 600)
    town.ask("light", "B", 600)
    town.second(300)
    assert town.cost("heavy") == pytest.approx(4 * town.cost("light"), rel=0.2)


@pytest.mark.parametrize("fairness", FAIR)
def test_every_job_goes_to_who_serves_its_model_and_none_is_lost(fairness: str) -> None:
    workers = {"w1": ("A",), "w2": ("A", "B"), "w3": ("B", "C"), "w4": ()}
    town = Town(build_scheduler(policies(fairness), 1), workers)
    random = Random(7)
    for _ in range(80):
        town.ask(random.choice("xyz"), random.choice(("", "A", "B", "C")), random.randrange(6))
        for d in town.flying:
            model, served = town.jobs[d.job_id].model, workers[d.worker]
            assert not model or not served or model in served
        town.second()
    while town.scheduler.queued or town.flying:
        town.second()
    assert town.gone == town.made
    assert town.scheduler._line.queues.lanes == {}  # a lane lasts as long as somebody waits in it


def test_who_serves_the_fewest_is_kept_for_those_that_need_it() -> None:
    town = Town(build_scheduler(policies(), 1), {"w1": ("A",), "w2": ("A", "B")})
    events: list[Event] = []
    for name, model in (("j1", "A"), ("j2", "B")):
        town.jobs[name] = JobView(name, "x", 100, 50, 0.0, model=model)
        events.append(JobArrived(town.jobs[name], f"{name}-0"))
    town.tell(events)
    assert {(d.job_id, d.worker) for d in town.flying} == {("j1", "w1"), ("j2", "w2")}


def test_a_tenant_that_was_passed_over_does_not_shut_the_others_out() -> None:
    policy = FairQueuing()
    policy.joined(JobView("a", "slow", 1, 1, 0.0, model="A"))
    policy.joined(JobView("b", "fast", 1, 1, 0.0, model="B"))
    for _ in range(1_000):
        assert policy.pick({"B"}) == "fast"
        policy.charge("fast", COST)
        policy.settle("fast", COST, COST)
    policy.joined(JobView("c", "fast", 1, 1, 0.0, model="A"))
    before = 0
    while policy.pick({"A"}) == "slow":
        policy.charge("slow", COST)
        policy.settle("slow", COST, COST)
        before += 1
    assert before <= MOST_CREDIT / COST + 2  # and not the 1,000 that it is behind


def test_lanes_are_forgotten_with_their_last_job() -> None:
    policy = FairQueuing()
    for n in range(500):
        policy.joined(JobView(f"j{n}", "x", 1, 1, 0.0, model=f"m{n}"))
        if n:
            policy.left_lane("x", f"m{n - 1}")
    assert len(policy._heaps) == len(policy._waiting) == len(policy._lanes["x"]) == 1
    policy.left("x")
    assert not policy._heaps
    assert not policy._waiting
    assert not policy._lanes


def test_queues_remember_no_model_without_a_job() -> None:
    """Models come and go with names that tenants choose: a lane each would never be given back."""
    queues = Queues()
    for n in range(500):
        queues.enqueue(float(n), Queued(JobView(f"j{n}", "x", 1, 1, 0.0, model=f"m{n}"), "", COST))
        if n >= 3:
            gone = queues.dequeue("x") if n % 2 else queues.withdraw(f"j{n - 3}")
            assert gone is not None
            assert gone.job.id == f"j{n - 3}"
        waiting = {f"m{m}" for m in range(max(0, n - 2), n + 1)}
        assert set(queues.lanes) == set(queues.by_tenant["x"].lanes) == waiting


def stolen(thief: tuple[str, ...]) -> set[str]:
    """Return what models the jobs ask for that a worker takes from one that serves both."""
    town = Town(
        build_scheduler(policies(stealing="longest_victim", prefetch=6), 1), {"w1": ("A", "B")}
    )
    for model in "ABABAB":
        town.ask("x", model)
    town.ask("x", "A", 3)
    reported = WorkerReported("thief", 4, models=thief)
    actions = town.scheduler.handle([reported], town.now)
    taken = [action for action in actions if isinstance(action, Steal)]
    assert all(steal.model == town.jobs[steal.job_id].model for steal in taken)
    return {steal.model for steal in taken}


def test_an_idle_worker_steals_what_it_serves_while_others_wait_for_what_it_does_not() -> None:
    assert stolen(("B",)) == {"B"}
    assert stolen(("C",)) == set()


@pytest.mark.interpreted("the control replaces a part of a compiled class")
def test_a_thief_that_asks_for_no_model_would_take_what_it_cannot_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parallax.scheduling.thieves.eligible", lambda *_: True)
    assert stolen(("B",)) == {"A", "B"}


def test_room_is_counted_by_kind() -> None:
    views = [WorkerView("a", 1, free=1, models=frozenset("A")), WorkerView("b", 2, free=2)]
    room = Room(views)
    assert room.open({"A": 1, "C": 1}) is None  # all of them
    room.take("A")  # by whom others can use least
    room.take("C")
    room.take("C")
    assert not room
    assert room.open({"A": 1}) == []
    with pytest.raises(ValueError, match="no room"):
        room.take("A")
