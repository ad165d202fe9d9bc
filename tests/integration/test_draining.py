"""A worker that drains: it ends when it is idle, and at its deadline whatever the store does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Dispatching
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership, order_drain
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.clock import ManualClock
from parallax.core.errors import Unreachable
from parallax.core.model import Job
from parallax.core.settings import WorkerSettings
from parallax.scheduling.actions import Dispatch

SETTINGS = WorkerSettings(block_s=0.001, drain_s=2.0)


class Held(NoopEngine):
    """Takes requests and never ends them."""

    def _end(self, at: float) -> None:
        pass


class Cut(Link):
    """A link whose server goes away."""

    gone = False
    asked = 0

    def send(self, commands: object) -> None:
        if self.gone:
            self.asked += 1
            raise Unreachable("Redis does not answer")
        super().send(commands)  # type: ignore[arg-type]


@pytest.fixture
def held(connect: Callable[[], Link]) -> tuple[Worker, Cut, ManualClock]:
    """A worker in whose engine a job runs, and runs."""
    link, keys, clock = connect(), Keys("draining"), ManualClock()
    own = Cut(link._connect)
    worker = Worker("w", (own, connect()), keys, Held(10), SETTINGS, clock)
    worker.heartbeat.beat()
    lease = Leadership(link, keys, "leader", 60_000).acquire()
    assert lease is not None
    entry = Intake(link, keys).submit([Job("j", "acme", 1, 1)])[0].detail
    dispatch = Dispatch("j", "acme", entry, worker.id, 1, 1.0)
    assert Dispatching(link, keys).commit(lease, [dispatch], {worker.id: 9}, {}) == ["ok"]
    worker.run_once()
    assert list(worker.desk.running) == ["j"]
    return worker, own, clock


Held_ = tuple[Worker, Cut, ManualClock]


def test_without_a_store_it_ends_at_its_deadline(held: Held_) -> None:
    worker, link, clock = held
    link.gone = True
    worker.drain()
    for _ in range(3):
        with pytest.raises(Unreachable):
            worker.run_once()
        assert not worker.drained
        clock.wait(0.99)
    assert not worker.drained
    clock.wait(SETTINGS.leave_s)
    assert worker.drained


def test_once_late_it_does_not_ask_again(held: Held_) -> None:
    """A store that hangs would hold it for two timeouts more."""
    worker, link, clock = held
    link.gone = True
    worker.drain()
    clock.wait(SETTINGS.drain_s + SETTINGS.leave_s + 0.1)
    asked = link.asked
    worker.close()
    assert link.asked == asked


def test_with_a_store_it_hands_over_at_its_deadline(held: Held_) -> None:
    """The control."""
    worker, _, clock = held
    worker.drain()
    worker.run_once()
    assert list(worker.desk.running) == ["j"]
    clock.wait(SETTINGS.drain_s + 0.1)
    worker.run_once()
    worker.run_once()
    assert not worker.desk.running
    assert worker.drained
    worker.close()


def test_an_order_in_its_stream_lets_it_drain(held: Held_) -> None:
    worker, link, clock = held
    keys, seen = Keys("draining"), []
    orders = [("odd", "order"), None]  # the control: another order is none to leave
    for order in orders:
        if order:
            link.call("XADD", keys.control(worker.id), "*", *order)
        else:
            order_drain(link, keys, worker.id)
        worker.run_once()
        seen.append(worker.desk.draining)
    assert seen == [False, True]
    clock.wait(SETTINGS.drain_s + 0.1)
    worker.run_once()
    worker.run_once()
    assert worker.drained
    worker.close()
    assert link.call("EXISTS", keys.control(worker.id)) == 0
