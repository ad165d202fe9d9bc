"""A worker that was believed dead, and lives: what is in its new stream is read, once."""

from __future__ import annotations

from collections import Counter

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.news import Read
from parallax.consumers.worker import Worker
from parallax.core.model import Job
from parallax.core.settings import WorkerSettings
from parallax.engine.request import Request
from parallax.scheduling.actions import Dispatch
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell, job


class Held(NoopEngine):
    """Takes requests and never ends them."""

    def _end(self, at: float) -> None:
        pass


class Counting(Held):
    """Counts how often each request was given to it."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.given: Counter[str] = Counter()

    def add(self, request: Request, now: float) -> None:
        self.given[request.id] += 1
        super().add(request, now)


def test_the_stream_is_read_from_its_start_and_what_runs_is_not_begun_twice(
    server_url: str,
) -> None:
    from parallax.broker.store.dispatch import Dispatching
    from parallax.broker.store.membership import Leadership

    link, keys = Link.to(server_url), Keys("reborn")
    lease = Leadership(link, keys, "leader", 60_000).acquire()
    assert lease is not None
    settings = WorkerSettings(block_s=0.001)
    links = (Link.to(server_url), Link.to(server_url))
    engine = Counting(10)
    worker = Worker("w", links, keys, engine, settings, SystemClock())
    worker.heartbeat.beat()

    def send(name: str) -> None:
        entry = Intake(link, keys).submit([Job(name, "acme", 1, 1)])[0].detail
        dispatch = Dispatch(name, "acme", entry, worker.id, 1, 1.0)
        assert Dispatching(link, keys).commit(lease, [dispatch], {worker.id: 9}, {}) == ["ok"]

    send("one")
    worker.run_once()
    worker._ears._cursors[keys.work(worker.id)] = (
        "9999999999999-0"  # as if the server's clock had gone back since
    )
    send("two")
    worker.run_once()
    assert list(worker.desk.running) == ["one"]  # the control: without rebirth it is never seen
    link.call("DEL", keys.heartbeat(worker.id))
    worker.heartbeat.beat()
    worker.run_once()
    assert sorted(worker.desk.running) == ["one", "two"]
    assert engine.given == {"one": 1, "two": 1}
    for each in (link, *links):
        each.close()


def test_what_was_read_just_before_a_rebirth_begins_once(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the stream still, and read again: two beginnings would mix two answers."""
    cell = Cell(lambda: Link.to(server_url))
    cell.scheduler()
    engine = Counting(10)
    worker = cell.worker(engine)
    read, deaths = worker._ears.read, iter([True])

    async def read_and_reborn(count: int, block_s: float) -> Read:
        found = await read(count, block_s)
        if len(found.assignments) > 0 and next(deaths, False):
            worker.heartbeat.reborn.set()
        return found

    monkeypatch.setattr(worker._ears, "read", read_and_reborn)
    cell.submit(job("j0"))
    cell.until(lambda: "j0" in worker.desk.running, "the job to run")
    for _ in range(5):
        cell.turn()
    assert engine.given == {"j0": 1}
    assert not next(deaths, False)  # it was reborn
