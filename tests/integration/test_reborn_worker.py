"""A worker that was believed dead, and lives: what is in its new stream is read, once."""

from __future__ import annotations

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.model import Job
from parallax.core.settings import WorkerSettings
from parallax.scheduling.actions import Dispatch
from parallax.services.clock import SystemClock


class Held(NoopEngine):
    """Takes requests and never ends them."""

    def _end(self, at: float) -> None:
        pass


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
    worker = Worker("w", links, keys, Held(10), settings, SystemClock())
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
    for each in (link, *links):
        each.close()
