"""The autoscaler beside Redis: its seat, what it reads, what it does and what it tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.scaling import ScalingStore, Seat, load_report
from parallax.core.clock import ManualClock
from parallax.core.model import WorkerView
from parallax.core.settings import PolicyChoice
from parallax.scheduling.autoscaler import Bounds
from parallax.scheduling.load import Load
from parallax.services.autoscaler import AutoscalerService, ScalingSettings

KEYS = Keys("scaled")
POLICY = PolicyChoice("backlog_slo", {"stable_s": 0.0, "target": 0.5})


class Machines:
    """Workers that start when they are told to."""

    name = "test"

    def __init__(self, count: int) -> None:
        self.count, self.drained = count, list[str]()

    def size(self) -> int:
        return self.count

    def owns(self, worker: str) -> bool:
        return not worker.startswith("other")

    def stays(self, worker: str) -> bool:
        return worker not in self.drained

    def start(self, count: int) -> None:
        self.count += count

    def drain(self, workers: Sequence[str]) -> None:
        self.drained += workers
        self.count -= len(workers)

    def tend(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Stage:
    """A cell whose leader tells what a test says."""

    def __init__(self, link: Link) -> None:
        self.link, self.clock, self.told_at = link, ManualClock(1_000.0), 1.0
        self.store = ScalingStore(link, KEYS)

    def service(self, machines: Machines, dry_run: bool = False) -> AutoscalerService:
        settings = ScalingSettings(POLICY, Bounds(1, 6), 1.0, dry_run)
        return AutoscalerService(self.link, KEYS, "me", settings, machines, self.clock)

    def tell(self, offered: float, *workers: str) -> None:
        """A load of so many workers' worth."""
        views = tuple(WorkerView(name, 4) for name in workers)
        self.told_at += 1.0
        self.store.tell(load_report(Load(offered, offered, 0.0, 0.0, 1.0, views), self.told_at))

    def turn(self, service: AutoscalerService) -> None:
        self.clock.wait(2.0)
        assert service.turn()


@pytest.fixture
def stage(embedded_url: str) -> Stage:
    link = Link.to(embedded_url)
    for key in (KEYS.load, KEYS.scaler, KEYS.scaling):
        link.call("DEL", key)
    return Stage(link)


def test_workers_are_started_and_the_decision_is_told(stage: Stage) -> None:
    machines = Machines(1)
    service = stage.service(machines)
    stage.tell(2.0, "w1-a")
    stage.turn(service)
    assert machines.count == 4
    record = stage.store.record()
    assert record is not None
    assert (record.wanted, record.serving, record.direction) == (4, 1, "up")
    assert [change.wanted for change in record.changes] == [4]
    assert "backlog_slo" in record.text


def test_who_starts_and_who_leaves_is_counted_once(stage: Stage) -> None:
    machines = Machines(4)
    service = stage.service(machines)
    stage.tell(2.0, "w1-a")
    stage.turn(service)
    assert machines.count == 4, "three start"
    stage.tell(0.5, "w1-a", "w2-a", "w3-a", "w4-a")
    stage.turn(service)
    assert len(machines.drained) == 3
    stage.tell(0.5, "w1-a", "w2-a", "w3-a", "w4-a")
    stage.turn(service)
    assert len(machines.drained) == 3, "they do not say yet that they leave"


def test_workers_that_others_started_are_never_drained(stage: Stage) -> None:
    machines = Machines(1)
    service = stage.service(machines)
    stage.tell(0.1, "other-a", "w1-a")
    stage.turn(service)
    assert machines.drained == ["w1-a"]


def test_without_news_of_a_leader_nothing_is_changed(stage: Stage) -> None:
    machines = Machines(1)
    service = stage.service(machines)
    stage.turn(service)
    assert machines.count == 1
    stage.tell(2.0, "w1-a")
    stage.turn(service)
    stage.turn(service)
    assert machines.count == 4, "old news is no news"
    stage.link.call("SET", KEYS.load, "junk")
    stage.turn(service)
    assert machines.count == 4


def test_a_dry_run_decides_and_changes_nothing(stage: Stage) -> None:
    machines = Machines(1)
    stage.tell(2.0, "w1-a")
    stage.turn(stage.service(machines, dry_run=True))
    record = stage.store.record()
    assert machines.count == 1
    assert record is not None
    assert (record.wanted, record.dry_run) == (4, True)


def test_one_acts_and_the_other_takes_over(stage: Stage) -> None:
    machines = Machines(1)
    one, other = stage.service(machines), stage.service(machines)
    stage.tell(2.0, "w1-a")
    stage.turn(one)
    stage.turn(other)
    assert (one.acting, other.acting, machines.count) == (True, False, 4)
    stage.link.call("DEL", KEYS.scaler)  # it was away for longer than the seat lasts
    stage.turn(other)
    stage.turn(one)
    assert (one.acting, other.acting) == (False, True)


def test_a_seat_is_left_to_the_next(stage: Stage) -> None:
    one, other = (Seat(stage.link, KEYS, name, 60_000) for name in ("one", "other"))
    assert one.take()
    assert one.take()
    assert not other.take()
    other.leave()
    assert not other.take(), "only who has it can leave it"
    one.leave()
    assert other.take()
