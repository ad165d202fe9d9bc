"""Several cells turned by hand, with tenants spread over them: on one server, and on two."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.keys import Keys
from parallax.core.cells import CellAddress
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.cells import Cells
from tests.integration.cells import Cell, job
from tests.waiting import wait_until

TENANTS = [f"tenant-{n}" for n in range(40)]


def started(url: str, name: str) -> Cell:
    """Return a running cell: a scheduler and two workers."""
    cell = Cell(partial(Link.to, url), keys=Keys(name))
    cell.scheduler()
    for _ in range(2):
        cell.worker()
    return cell


def load(prefix: str, count: int) -> list[Job]:
    return [job(f"{prefix}{n}", TENANTS[n % len(TENANTS)]) for n in range(count)]


class Everything:
    """Some cells and the client of all of them."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.cells = {name: started(url, name) for name, url in urls.items()}
        self.client = Cells.to([CellAddress(name, url) for name, url in urls.items()])
        self.told: Counter[str] = Counter()

    def hear(self) -> None:
        for end in self.client.news(0):
            assert end.outcome is Outcome.COMPLETED
            self.told[end.job_id] += 1

    def until_told(self, jobs: list[Job]) -> None:
        """Take turns until the client was told of these ends."""

        def turned() -> bool:
            for cell in self.cells.values():
                with contextlib.suppress(Unreachable):  # its server was killed
                    cell.turn()
            self.hear()
            return all(one.id in self.told for one in jobs)

        wait_until(turned, "the ends of all jobs")

    def assert_each_ended_once_at_home(self, jobs: list[Job]) -> None:
        assert self.told == Counter(one.id for one in jobs)
        for one in jobs:
            home = self.client.home(one.tenant)
            for name, cell in self.cells.items():
                assert cell.outcome(one.id) == (Outcome.COMPLETED if name == home else None)
        totals = self.client.counts()
        assert (totals["accepted"], totals["completed"]) == (len(jobs), len(jobs))
        assert not {"reclaimed", "repaired", "late"} & totals.keys()

    def close(self) -> None:
        self.client.close()
        for cell in self.cells.values():
            for worker in cell.workers:
                worker.close()
            for scheduler in cell.schedulers:
                scheduler.close()
            cell.link.close()


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[dict[str, str]], Everything]]:
    running: list[Everything] = []

    def started(urls: dict[str, str]) -> Everything:
        running.append(Everything(urls))
        return running[-1]

    yield started
    for one in running:
        one.close()


@pytest.fixture
def pair(make: Callable[..., EmbeddedServer]) -> tuple[EmbeddedServer, EmbeddedServer]:
    """Two servers that keep what they acknowledged."""
    first, second = (make(ephemeral=True, durability="always") for _ in "ab")
    return first, second


def test_two_cells_on_one_server(
    embedded_url: str, run: Callable[[dict[str, str]], Everything]
) -> None:
    everything = run({"a": embedded_url, "b": embedded_url})
    jobs = load("j", 300)
    receipts = everything.client.submit(jobs)
    assert [(receipt.job_id, receipt.word) for receipt in receipts] == [(j.id, "ok") for j in jobs]
    everything.until_told(jobs)
    everything.assert_each_ended_once_at_home(jobs)
    homes = Counter(everything.client.home(tenant) for tenant in TENANTS)
    assert min(homes["a"], homes["b"]) >= 10


@pytest.mark.slow
def test_a_server_that_dies_and_returns_does_not_disturb_the_other_cell(
    pair: tuple[EmbeddedServer, EmbeddedServer], run: Callable[[dict[str, str]], Everything]
) -> None:
    well, ill = pair
    everything = run({"well": well.start().url, "ill": ill.start().url})
    client, cells = everything.client, everything.cells
    before, meanwhile = load("before", 200), load("meanwhile", 200)
    client.submit(before)
    ill.kill()

    words = {r.job_id: r.word for r in client.submit(meanwhile)}
    own = [j for j in meanwhile if client.home(j.tenant) == "well"]
    others = [j for j in meanwhile if client.home(j.tenant) == "ill"]
    assert {words[j.id] for j in own} == {"ok"}
    assert {words[j.id] for j in others} == {"unknown"}
    everything.until_told([j for j in [*before, *own] if client.home(j.tenant) == "well"])
    assert cells["well"].counts().get("reclaimed") is None

    assert ill.restart_if_dead()
    left = {j.id: j for j in others}

    def accepted() -> bool:
        for receipt in client.submit(list(left.values())):
            if receipt.accepted:
                del left[receipt.job_id]
        return not left

    wait_until(accepted, "the returned cell to accept what was unknown")
    everything.until_told([*before, *meanwhile])
    everything.assert_each_ended_once_at_home([*before, *meanwhile])
