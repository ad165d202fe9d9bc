"""The lease is kept while the leader works, however long that takes, and lost when it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership
from parallax.core.clock import ManualClock
from parallax.core.errors import Fenced
from parallax.core.settings import SchedulerSettings
from parallax.services import takeover
from parallax.services.clock import SystemClock
from parallax.services.lease_keeper import LeaseKeeper
from parallax.services.scheduler import SchedulerService
from tests.integration.cells import QUICK, Cell, job
from tests.waiting import wait_until

KEYS = Keys("kept")
TTL_MS = 60_000


def keeper(link: Link, clock: ManualClock, **settings: Any) -> LeaseKeeper:
    leadership = Leadership(link, KEYS, "one", TTL_MS)
    lease = leadership.acquire()
    assert lease is not None
    link.call("PEXPIRE", KEYS.leader, 1_000)
    return LeaseKeeper(link, leadership, lease, SchedulerSettings(**settings), clock)


def left(link: Link) -> int:
    return int(link.call("PTTL", KEYS.leader))


def test_a_loop_that_makes_progress_keeps_the_lease(connect: Callable[[], Link]) -> None:
    link, clock = connect(), ManualClock(100.0)
    kept = keeper(link, clock, stall_s=5.0)
    for _ in range(4):
        clock.wait(4.0)
        kept.progressed()
        assert kept.renew()
    assert left(link) > 1_000
    kept.check()


def test_a_loop_that_hangs_loses_it(connect: Callable[[], Link]) -> None:
    link, clock = connect(), ManualClock(100.0)
    kept = keeper(link, clock, stall_s=5.0)
    clock.wait(5.1)
    assert not kept.renew()
    assert left(link) <= 1_000
    kept.progressed()  # too late: others may lead by now
    with pytest.raises(Fenced):
        kept.check()


def test_a_lease_that_another_has_is_lost(connect: Callable[[], Link]) -> None:
    link = connect()
    kept = keeper(link, ManualClock())
    link.call("SET", KEYS.leader, "another|7")
    assert not kept.renew()
    with pytest.raises(Fenced):
        kept.check()
    assert link.call("GET", KEYS.leader) == b"another|7"


def test_two_processes_of_one_name_are_two_candidates(connect: Callable[[], Link]) -> None:
    """In two containers both are `scheduler-1`, with the same pid."""
    link = connect()
    first, second = (Leadership(link, KEYS, "scheduler-1", TTL_MS) for _ in range(2))
    lease = first.acquire()
    assert lease is not None
    assert second.acquire() is None
    assert first.acquire() == lease  # a reply may be lost


class Work:
    """A take-over that takes as long as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, progresses: bool) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self._progresses = progresses
        monkeypatch.setattr(takeover, "attempts", self._attempts)

    def _attempts(self, *arguments: Any) -> list[Any]:
        self.begun.set()
        while not self.over.wait(0.01):
            if self._progresses:
                arguments[-1]()
        return []


@pytest.mark.parametrize("progresses", [True, False])
@pytest.mark.sampled(1)
@pytest.mark.dear
def test_work_longer_than_the_lease(
    connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch, progresses: bool
) -> None:
    cell = Cell(connect)
    busy = cell.scheduler(replace(QUICK, lease_s=1.0, stall_s=1.0))
    work = Work(monkeypatch, progresses)
    loop = threading.Thread(target=_standing_by, args=(busy,))
    loop.start()
    assert work.begun.wait(10)
    other = Leadership(cell.link, cell.keys, "other", 60_000)
    clock = SystemClock()
    end = clock.monotonic() + 4.0  # four times the lease

    def taken_or_over() -> bool:
        return other.acquire() is not None or clock.monotonic() > end

    try:
        wait_until(taken_or_over, "the lease to be lost, or the work to be over")
        assert (other.acquire() is None) is progresses
    finally:
        work.over.set()
        loop.join()
        busy.close()


def _standing_by(service: SchedulerService) -> None:
    while not service.leading:
        service.run_once()


def test_a_leader_that_lost_its_lease_beside_the_loop_stops(connect: Callable[[], Link]) -> None:
    cell = Cell(connect)
    leader = cell.scheduler(replace(QUICK, lease_s=0.2))
    cell.until(lambda: leader.leading, "a leader")
    keeper = leader._keeper
    assert keeper is not None
    cell.link.call("SET", cell.keys.leader, "another|9999999999999", "PX", 60_000)
    wait_until(lambda: keeper._lost, "the keeper to find out")
    cell.submit(job("j0"))
    cell.turn()
    assert not leader.leading
    leader.close()
