"""A leader's turns, one by one: refusals, orphans, clocks, accounts, weights, and who is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.codec import VERSION, Registration, Report
from parallax.broker.store.dispatch import Dispatching, Entry, Lease
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.ledger import SYSTEM
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.rescue import Rescue
from parallax.broker.store.results import Results
from parallax.broker.store.tenancy import Tenancy
from parallax.core.clock import ManualClock
from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import Policies, PolicyChoice, SchedulerSettings
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.events import Event, TenantConfigured, WorkerLost, WorkerReported
from parallax.services import takeover
from parallax.services.janitor import Janitor
from parallax.services.recoverer import Recoverer
from parallax.services.scheduler import SchedulerService
from parallax.telemetry.scheduling import SchedulingMetrics
from tests.carried import Carried
from tests.integration.cells import QUICK, Cell, StuckEngine, job, look_again, scheduler_of

#: The janitor takes its turn when the leader begins, and not again.
CALM = replace(QUICK, sweep_s=3600.0, repair_grace_s=3600.0)
#: Neither does anybody look at the workers again.
BLIND = replace(CALM, poll_s=10.0, heartbeat_s=60.0)


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    return Cell(connect)


# -- refusals -------------------------------------------------------------------------------------


def test_what_finds_its_worker_gone_is_sent_again_when_it_is_back(cell: Cell) -> None:
    cell.scheduler(BLIND)
    worker = cell.worker()
    cell.turn()
    cell.link.call("DEL", cell.keys.heartbeat(worker.id))
    cell.submit(job("j1"))
    for _ in range(3):
        cell.schedulers[0].run_once()
    assert cell.state("j1") is State.QUEUED
    look_again(cell.schedulers[0])
    cell.until_ended("j1")


def test_what_finds_no_room_is_sent_again_when_there_is_some(cell: Cell) -> None:
    cell.scheduler(BLIND)
    worker = cell.worker(StuckEngine(1))
    cell.turn()
    for _ in range(2 * 1 + 16):
        cell.link.call("XADD", cell.keys.work(worker.id), "*", "j", "x 1 1.0 1")
    cell.submit(job("j1"))
    for _ in range(3):
        cell.schedulers[0].run_once()
    assert cell.state("j1") is State.QUEUED
    cell.link.call("XTRIM", cell.keys.work(worker.id), "MAXLEN", 0)
    cell.until(lambda: cell.state("j1") is State.RUNNING, "the job to run")


def test_an_arrival_without_a_record_is_set_aside_once(cell: Cell) -> None:
    cell.scheduler(CALM)
    cell.worker()
    cell.submit(job("j1"))
    cell.link.call("DEL", cell.keys.job("j1"))
    cell.until(cell.dead_letters, "the orphan to be set aside")
    for _ in range(5):
        cell.turn()
    assert ["orphan" in letter["why"] for letter in cell.dead_letters()] == [True]
    assert cell.link.call("XLEN", cell.keys.arrivals("acme")) == 0


def test_what_the_store_says_is_not_due_is_looked_at_until_it_is(cell: Cell) -> None:
    cell.scheduler(CALM)
    cell.submit(job("j1", deadline_s=0.001))
    seconds, micros = cell.link.call("TIME")
    due = int(seconds) * 1000 + int(micros) // 1000 + 300
    cell.link.call("HSET", cell.keys.job("j1"), "deadline", due)
    for _ in range(5):
        cell.turn()
    assert cell.state("j1") in {State.QUEUED, State.EXPIRED}
    cell.until_ended("j1")
    assert cell.outcome("j1") is Outcome.EXPIRED


def test_a_leader_goes_on_with_the_accounts_of_the_one_before(cell: Cell) -> None:
    """Whoever was served more waits for the others, although this leader has served nobody."""
    cell.submit(*(job(f"{tenant}{n}", tenant) for tenant in "ab" for n in range(4)))
    cell.link.call("HSET", cell.keys.ledger, SYSTEM, 0.0, "a", 1e6, "b", 1.0)
    cell.scheduler(CALM)
    worker = cell.worker(StuckEngine(1))
    cell.until(lambda: len(worker.desk.running), "the first dispatch")
    held = cell.link.call("XRANGE", cell.keys.work(worker.id), "-", "+")
    first = [bytes(fields[1])[:1] for _, fields in held]
    assert first[:4] == [b"b"] * len(first[:4])


def test_all_that_was_decided_is_carried_out_however_small_the_batches(cell: Cell) -> None:
    cell.scheduler(replace(CALM, batch=1))
    cell.worker()
    cell.submit(*(job(f"j{n}", f"t{n}") for n in range(6)))
    cell.until_ended(*(f"j{n}" for n in range(6)))


def test_a_waiter_is_told_of_what_the_leader_refuses_and_of_what_expires(cell: Cell) -> None:
    cell.policies = Policies(admission=PolicyChoice("thresholds", {"max_jobs_per_tenant": 1}))
    cell.scheduler(CALM)
    cell.submit(*(job(f"j{n}") for n in range(3)), job("late", "other", deadline_s=0.001),
                reply="inbox")  # fmt: skip
    refused = [f"j{n}" for n in range(1, 3)]
    cell.until_ended(*refused, "late")
    told = [(n.job_id, n.outcome) for n in Results(cell.link, cell.keys).follow("inbox", "", 0)[1]]
    wanted = [(name, Outcome.REJECTED) for name in refused] + [("late", Outcome.EXPIRED)]
    assert sorted(told) == sorted(wanted)


# -- who leads ------------------------------------------------------------------------------------


def test_who_leaves_gives_up_the_lease_and_keeps_what_it_learnt(cell: Cell) -> None:
    service = cell.scheduler(CALM)
    cell.turn()
    assert cell.link.call("EXISTS", cell.keys.leader) == 1
    cell.link.call("DEL", cell.keys.memory)
    service.close()
    assert cell.link.call("EXISTS", cell.keys.leader) == 0
    assert cell.link.call("EXISTS", cell.keys.memory) == 1


def heard(service: SchedulerService) -> list[Event]:
    """Return a list to which all is added that the scheduler is told from now on."""
    events: list[Event] = []
    handle = scheduler_of(service).handle

    def noted(news: list[Event], now: float) -> Any:
        events.extend(news)
        return handle(news, now)

    scheduler_of(service).handle = noted  # type: ignore[method-assign, assignment]
    return events


def test_a_weight_that_changes_is_followed_between_two_sweeps(cell: Cell) -> None:
    service = cell.scheduler(CALM)
    cell.turn()
    cell.turn()
    events = heard(service)
    Tenancy(cell.link, cell.keys).set_weights({"acme": 3.0})
    cell.until(lambda: TenantConfigured("acme", 3.0) in events, "the weight to be told")


def test_a_clock_that_leaps_is_set_by_the_servers(cell: Cell) -> None:
    clock = ManualClock(50.0)
    service = SchedulerService(
        cell.connect(), cell.keys, "s", replace(CALM, lease_s=60.0), Policies(), clock,
        SchedulingMetrics(),
    )  # fmt: skip
    cell.schedulers.append(service)
    cell.worker()
    cell.turn()
    clock.wait(1000.0)
    cell.submit(job("j1", deadline_s=100.0))
    for _ in range(50):
        clock.wait(0.02)
        cell.turn()
        if cell.outcome("j1"):
            break
    assert cell.outcome("j1") is Outcome.COMPLETED


def test_no_more_of_a_tenant_is_held_in_memory_than_its_share(cell: Cell) -> None:
    service = cell.scheduler(replace(CALM, window=40, max_held=60, batch=10))
    cell.submit(*(job(f"a{n}", "anna") for n in range(80)))
    cell.submit(*(job(f"b{n}", "bert") for n in range(80)))
    for _ in range(30):
        cell.turn()
    held = [scheduler_of(service).held(tenant) for tenant in ("anna", "bert")]
    assert all(30 <= count < 30 + 10 for count in held)  # a share of 60, and a batch at most


# -- the dead -------------------------------------------------------------------------------------


class Fleet:
    """Workers of hand, and a recoverer."""

    def __init__(self, link: Link) -> None:
        self.link, self.keys = link, Keys("fleet")
        self.membership = Membership(link, self.keys)
        lease = Leadership(link, self.keys, "leader", 60_000).acquire()
        assert lease is not None
        self.lease: Lease = lease
        settings = SchedulerSettings(heartbeat_s=2.0, poll_s=1.0)
        self.recoverer = Recoverer(self.membership, Rescue(link, self.keys), settings)

    def join(self, *workers: str) -> None:
        for worker in workers:
            self.membership.beat(worker, f"{worker}-life", 60_000, Registration(VERSION, 4))


@pytest.fixture
def fleet(connect: Callable[[], Link]) -> Fleet:
    return Fleet(connect())


@pytest.mark.slow_on_fakeredis
def test_all_that_a_dead_worker_held_is_taken_back_at_once(fleet: Fleet) -> None:
    fleet.join("w1", "w2")
    fleet.recoverer.start()
    rows = [("XADD", fleet.keys.work("w1"), "*", "j", f"x{n} 1 1.0 1") for n in range(1_100)]
    fleet.link.calls(rows)
    fleet.link.call("DEL", fleet.keys.heartbeat("w1"))
    events = fleet.recoverer.poll(fleet.lease, 100.0)
    assert WorkerLost("w1") in events
    assert fleet.link.call("EXISTS", fleet.keys.work("w1")) == 0
    assert fleet.recoverer.drain_counts()["deaths"] == 1
    assert fleet.link.call("HKEYS", fleet.keys.workers) == [b"w2"]


def test_who_signed_off_is_lost_and_known_no_more(fleet: Fleet) -> None:
    fleet.join("w1", "w2")
    fleet.recoverer.start()
    fleet.membership.bury("w1")
    assert WorkerLost("w1") in fleet.recoverer.poll(fleet.lease, 100.0)
    assert list(fleet.recoverer.known) == ["w2"]
    assert WorkerLost("w1") not in fleet.recoverer.poll(fleet.lease, 101.0)


def test_who_drains_is_told_to_drain(fleet: Fleet) -> None:
    fleet.join("w1")
    for draining in (0, 1):
        fleet.membership.report("w1", 60_000, {"draining": draining, "kv_used": "0.25"})
        (event,) = fleet.recoverer.poll(fleet.lease, 100.0)
        assert isinstance(event, WorkerReported)
        assert (event.draining, event.kv_used) == (bool(draining), 0.25)


def test_a_cap_is_twice_what_the_gate_would_send(fleet: Fleet) -> None:
    fleet.join("w1")
    fleet.recoverer.start()
    assert fleet.recoverer.cap("w1") == 2 * 4 + 16
    assert fleet.recoverer.cap("nobody") == 0


# -- the net below the net, and the next leader ---------------------------------------------------


def held(fleet: Fleet, name: str, worker: str, **fields: Any) -> Any:
    """Let a job run on a worker; return its attempt."""
    receipt = Intake(fleet.link, fleet.keys).submit([job(name, **fields)])[0]
    sent = Dispatch(name, "acme", receipt.detail, worker, 1, 2.5)
    caps = {worker: 9}
    assert Dispatching(fleet.link, fleet.keys).commit(fleet.lease, [sent], caps, {}) == ["ok"]
    entry, found = fleet.membership.held(worker)[-1]
    attempts = Carried(fleet.link, fleet.keys, worker)
    return attempts.begin([decode_assignment(Entry(entry, found))])[0][0]


def test_a_new_leader_learns_what_jobs_own_and_nothing_else(fleet: Fleet) -> None:
    fleet.join("w1", "w2")
    held(fleet, "mine", "w1")
    held(fleet, "moved", "w1")
    fleet.link.call("HSET", fleet.keys.job("moved"), "at", "running w2/2/1-1 1")
    prompt = held(fleet, "prompt", "w2")
    report = Report("acme", "w2", 1, 2.5, 10, 0)
    Carried(fleet.link, fleet.keys, "w2").finish([Finish(prompt, "prefilled 4 0.25", report)])
    known = takeover.attempts(fleet.link, fleet.keys, ["w1", "w2"], lambda: None)
    told = [(e.job.id, e.worker, e.attempt, e.estimate, e.prefilled) for e in known]
    assert told == [("mine", "w1", 1, 2.5, False), ("prompt", "w2", 1, 2.5, True)]


def test_a_job_whose_last_attempt_is_nowhere_ends_and_leaves_a_letter(fleet: Fleet) -> None:
    fleet.join("w1")
    held(fleet, "j1", "w1", max_attempts=1)
    fleet.link.call("DEL", fleet.keys.work("w1"))
    settings = SchedulerSettings(repair_grace_s=0.5)
    fleet.link.call("ZADD", fleet.keys.open, 5, "j1")
    janitor = Janitor(
        fleet.link, fleet.keys, Rescue(fleet.link, fleet.keys),
        Intake(fleet.link, fleet.keys, Limits()), settings,
    )  # fmt: skip
    found = list(janitor.sweep(fleet.lease, ["w1"]))
    assert sum(piece.words["spent"] for piece in found) == 1
    record = Results(fleet.link, fleet.keys).records(["j1"])[0]
    assert record is not None
    assert record.outcome is Outcome.DEAD
    assert "w1 was lost during attempt 1" in record.report.error
    assert fleet.link.call("XLEN", fleet.keys.dead) == 1
    assert fleet.link.call("ZCARD", fleet.keys.open) == 0


def test_the_janitor_finds_strays_the_unrung_and_what_is_nobodys(fleet: Fleet) -> None:
    fleet.join("w1")
    held(fleet, "j1", "w1")
    fleet.link.call("XADD", fleet.keys.work("w1"), "*", "j", "j1 7 1.0 1")
    fleet.link.call("XADD", fleet.keys.work("w9"), "*", "j", "j1 7 1.0 1")
    fleet.link.call("XADD", fleet.keys.arrivals("quiet"), "*", "j", "x")
    janitor = Janitor(
        fleet.link, fleet.keys, Rescue(fleet.link, fleet.keys),
        Intake(fleet.link, fleet.keys, Limits()), SchedulerSettings(),
    )  # fmt: skip
    found = list(janitor.sweep(fleet.lease, ["w1"]))
    words = sum((piece.words for piece in found), Counter[str]())
    assert (words["removed"], words["rung"], words["stray"]) == (1, 1, 1)
    assert [piece.strays for piece in found if piece.strays] == [["w9"]]
    assert any(("j1", 1) in piece.held.get("w1", ()) for piece in found)
    assert fleet.link.call("SISMEMBER", fleet.keys.active, "quiet") == 1
