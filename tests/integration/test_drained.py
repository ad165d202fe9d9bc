"""Workers that an operator drains: sent nothing new, whoever leads, until that is taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.drained import MOST_MARKS, Drained, mark_of, places_of
from parallax.broker.store.membership import Membership
from parallax.broker.store.overview import Overview
from parallax.cli.draining import EMPTY_S, Draining
from parallax.consumers.worker import Worker
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.producers.gateway.models import Models
from tests.integration.cells import Cell, StuckEngine, job, look_again


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker()
    cell.worker()
    cell.turn()
    return cell


def marks(cell: Cell) -> Drained:
    return Drained(cell.link, cell.keys)


def draining(cell: Cell) -> Draining:
    return Draining(cell.link, cell.keys, ManualClock())


def served(cell: Cell, word: str) -> Counter[str]:
    """Let jobs end; return how many each worker had."""
    for scheduler in cell.schedulers:
        look_again(scheduler)
    cell.turn()
    names = [f"{word}{n}" for n in range(12)]
    cell.submit(*map(job, names))
    cell.until_ended(*names)
    records = [cell.record(name) for name in names]
    return Counter(one.report.worker for one in records if one is not None)


def state(cell: Cell, worker: Worker) -> str:
    """Return how a worker is, as everybody who looks sees it."""
    seen = Overview(cell.link, cell.keys).read().workers
    return next(one.state for one in seen if one.name == worker.id)


def test_the_control_both_are_sent_jobs(cell: Cell) -> None:
    assert served(cell, "a").keys() == {worker.id for worker in cell.workers}


def test_a_drained_worker_is_sent_nothing_whoever_leads_until_it_is_taken_back(cell: Cell) -> None:
    first, second = cell.workers
    assert marks(cell).add(first.id)
    assert not marks(cell).add(first.id)
    assert (state(cell, first), state(cell, second)) == ("draining", "alive")
    assert served(cell, "a").keys() == {second.id}
    cell.schedulers.pop().close()
    cell.scheduler()
    cell.until(lambda: cell.link.call("GET", cell.keys.leader), "another to lead")
    assert served(cell, "b").keys() == {second.id}
    assert marks(cell).remove(first.id)
    assert not marks(cell).remove(first.id)
    assert state(cell, first) == "alive"
    assert served(cell, "c").keys() == {first.id, second.id}


def test_what_is_under_way_ends_where_it_is(connect: Callable[[], Link]) -> None:
    cell, engine = Cell(connect), StuckEngine(2)
    cell.scheduler()
    worker = cell.worker(engine)
    cell.submit(job("j"))
    cell.until(lambda: list(worker.desk.running) == ["j"], "it to run")
    assert not draining(cell).drain(worker.id, wait_s=5.0).empty
    look_again(cell.schedulers[0])
    cell.submit(job("later"))
    cell.turn()
    engine.stuck = False
    cell.until_ended("j")
    found = draining(cell).drain(worker.id, wait_s=2 * EMPTY_S)
    assert (found.empty, found.changed) == (True, False)
    assert cell.outcome("later") is None
    draining(cell).undrain(worker.id)
    look_again(cell.schedulers[0])
    cell.until_ended("later")


def test_a_worker_is_named_by_its_id_its_name_or_its_server() -> None:
    before = Registration(VERSION, 4, "openai", about={"backend": "http://h:1"})
    assert places_of("gpu-1-abc123", before) == ["gpu-1-abc123", "gpu-1", "http://h:1"]
    assert mark_of({b"gpu-1": b"0"}, "gpu-1-abc124", before) == "gpu-1"  # started again
    assert mark_of({b"http://h:1": b"0"}, "other-abc123", before) == "http://h:1"
    assert mark_of({b"gpu": b"0", b"": b"0"}, "gpu-1-abc123", before) is None
    assert mark_of({b"": b"0"}, "w1", Registration(VERSION, 4, "cpu")) is None


def test_a_name_that_nobody_has_is_refused_with_those_there_are(cell: Cell) -> None:
    with pytest.raises(InvalidInput, match=cell.workers[0].id):
        draining(cell).drain("nobody", 0.0)
    with pytest.raises(InvalidInput, match="none is drained"):
        draining(cell).undrain("w")
    assert draining(cell).drain("w", 0.0).workers  # all of that name
    with pytest.raises(InvalidInput, match="one of: w"):
        draining(cell).undrain("nobody")


def test_a_server_is_named_as_it_is_listed_or_as_clients_ask_it(cell: Cell) -> None:
    about: dict[str, str | int | float] = {"backend": "http://h:1", "models": "m"}
    member = Membership(cell.link, cell.keys)
    member.beat("s1", "s1", 60_000, Registration(VERSION, 4, "openai", about=about))
    models = Models(member.members, ManualClock())
    assert models._look().models["m"].live == 1
    assert draining(cell).drain("http://h:1/v1/", 0.0).name == "http://h:1"
    assert models._look().models["m"].live == 0  # requests wait, and are not refused
    assert draining(cell).undrain("http://h:1").workers[0].state == "ready"


def test_there_are_so_many_marks_at_most(cell: Cell) -> None:
    cell.link.call("HSET", cell.keys.drained, *[x for n in range(MOST_MARKS) for x in (f"w{n}", 1)])
    with pytest.raises(InvalidInput, match="at most"):
        marks(cell).add("one-more")
    with pytest.raises(InvalidInput, match="bytes"):
        marks(cell).add("n" * 301)
    cell.link.call("DEL", cell.keys.drained)
