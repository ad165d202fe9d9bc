"""What a leader does beside its turns costs round trips by the page, not by the piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.membership import Membership
from parallax.core.lifecycle import State
from parallax.services.janitor import Janitor
from parallax.services.scheduler import SchedulerService
from tests.integration.cells import QUICK, Cell, job, jobs, scheduler_of, term_of

FEW, MANY = 3, 250
CALM = replace(
    QUICK, heartbeat_s=60.0, poll_s=10.0, sweep_s=60.0, lease_s=60.0, idle_s=3600.0, stall_s=60.0
)


class Trips:
    """Counts writes to the server by the thread of the test: not those of keepers of leases."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, here = 0, threading.current_thread()
        send = Link.send

        def counted(link: Link, commands: Any) -> None:
            self.count += threading.current_thread() is here
            send(link, commands)

        monkeypatch.setattr(Link, "send", counted)

    @contextmanager
    def at_most(self, count: int) -> Iterator[None]:
        before = self.count
        yield
        assert self.count - before <= count


def populated(cell: Cell, workers: int) -> SchedulerService:
    """Register workers that hold a job each, under a leader that is gone."""
    membership = Membership(cell.link, cell.keys)
    for n in range(workers):
        membership.beat(f"w{n}", f"life{n}", 60_000, Registration(VERSION, 1))
    first = cell.scheduler(CALM)
    cell.submit(*(job(f"j{n}") for n in range(workers)))
    cell.until(lambda: scheduler_of(first).in_flight == workers, "all jobs to be sent")
    cell.schedulers.remove(first)
    first.close()
    return cell.scheduler(CALM)


@pytest.mark.sampled(1)
@pytest.mark.slow_on_fakeredis
@pytest.mark.parametrize("workers", [FEW, MANY])
def test_a_take_over(
    connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    cell = Cell(connect)
    leader = populated(cell, workers)
    with Trips(monkeypatch).at_most(20):
        leader.run_once()
        assert leader.leading
    assert scheduler_of(leader) is not None
    cell.turn()
    assert scheduler_of(leader).in_flight == workers


@pytest.mark.sampled(1)
@pytest.mark.slow_on_fakeredis
@pytest.mark.parametrize("workers", [FEW, MANY])
def test_a_poll(connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    cell = Cell(connect)
    leader = populated(cell, workers)
    leader.run_once()
    with Trips(monkeypatch).at_most(10):
        term_of(leader)._poll()


@pytest.mark.sampled(1)
@pytest.mark.slow_on_fakeredis
@pytest.mark.parametrize("workers", [FEW, MANY])
def test_the_death_of_many(
    connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    cell = Cell(connect)
    leader = populated(cell, workers)
    leader.run_once()
    lease = term_of(leader).lease
    names = sorted(term_of(leader)._recoverer.known)
    cell.link.call("DEL", *map(cell.keys.heartbeat, names))
    with Trips(monkeypatch).at_most(12):
        assert term_of(leader)._recoverer._give_back(lease, names) == names
    assert {cell.state(f"j{n}") for n in range(workers)} == {State.QUEUED}
    assert cell.link.call("HLEN", cell.keys.workers) == 0


def swept(cell: Cell, opened: int, settings: Any = CALM) -> list[int]:
    """Lose the stream of so many old jobs, and sweep once; return how many each piece found."""
    leader = cell.scheduler(settings)
    cell.until(lambda: leader.leading, "a leader")
    cell.submit(*jobs(opened, "a"))
    cell.link.call("DEL", cell.keys.arrivals("a"))
    old = [item for n in range(opened) for item in (1, f"j{n}")]
    cell.link.call("ZADD", cell.keys.open, *old)
    lease = term_of(leader).lease
    pieces = term_of(leader)._janitor.sweep(lease, ())
    return [piece.words["ok"] for piece in pieces if piece.words["ok"]]


@pytest.mark.dear
@pytest.mark.slow_on_fakeredis
def test_a_sweep_grows_with_what_is_open_and_its_pieces_do_not(
    connect: Callable[[], Link],
) -> None:
    """All that is open is seen within a minute: here, in the one sweep of that minute."""
    assert swept(Cell(connect), 2_500) == [1_000, 1_000, 500]


def test_a_sweep_of_little_is_small(connect: Callable[[], Link]) -> None:
    assert swept(Cell(connect), 300, replace(CALM, sweep_s=1.0)) == [200]


@pytest.mark.parametrize(
    ("opened", "sweep_s", "budget"),
    [(0, 5.0, 200), (2_000, 5.0, 200), (60_000, 5.0, 5_000), (10_000_000, 5.0, 20_000)],
)
def test_the_budget_of_a_sweep(
    connect: Callable[[], Link], opened: int, sweep_s: float, budget: int
) -> None:
    leader = Cell(connect).scheduler(replace(CALM, sweep_s=sweep_s))
    leader.run_once()
    janitor: Janitor = term_of(leader)._janitor
    assert janitor._budget(opened) == budget
