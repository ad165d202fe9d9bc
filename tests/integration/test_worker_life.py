"""A worker as it lives in its loop: what it does when it is torn out of a call of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Finish
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome
from parallax.core.settings import WorkerSettings
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell, job

SETTINGS = WorkerSettings(heartbeat_s=30.0, block_s=0.2, drain_s=5.0)


class Stage:
    """A cell with a worker that is torn out of the first call that writes an end."""

    def __init__(self, url: str) -> None:
        self.cell = Cell(lambda: Link.to(url))
        self.cell.scheduler()
        self.link = AsyncLink.to(url)
        links = (self.link, self.cell.connect())
        self.worker = Worker("w", links, self.cell.keys, NoopEngine(4), SETTINGS, SystemClock())
        self.asked: list[str] = []

    def tear(self, how: Callable[[], None]) -> None:
        """Do this when the first end is on its way."""
        finish = self.worker._errands.finish

        async def torn(finishes: Sequence[Finish]) -> Any:
            self.asked += [one.attempt.job_id for one in finishes]
            if len(self.asked) == 1:
                how()
            return await finish(finishes)

        self.worker._errands.finish = torn  # type: ignore[method-assign]

    async def lives(self, beside: Callable[[], None]) -> None:
        """Let it live, and call this in a thread meanwhile."""
        self.worker.start()
        life = asyncio.create_task(self.worker.live(lambda: False))
        watching = asyncio.create_task(asyncio.to_thread(beside))
        await asyncio.wait_for(asyncio.gather(life, watching, return_exceptions=True), 60.0)
        watching.result()
        self.life = life

    def ends(self) -> None:
        """Submit a job and wait until it has ended."""
        self.cell.submit(job("j"))
        self.cell.until_ended("j")

    def check(self) -> None:
        """It ended once, and the worker left in good order."""
        cell, name = self.cell, self.worker.id
        assert cell.outcome("j") is Outcome.COMPLETED
        assert cell.counts()["completed"] == 1
        assert cell.link.call("HLEN", cell.keys.workers) == 0
        assert cell.link.call("EXISTS", cell.keys.work(name), cell.keys.heartbeat(name)) == 0


@pytest.fixture
def stage(embedded_url: str) -> Stage:
    return Stage(embedded_url)


@pytest.mark.parametrize("sent", [True, False])
def test_who_is_cancelled_while_it_writes_an_end_writes_it_before_it_leaves(
    stage: Stage, sent: bool
) -> None:
    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        if not sent:
            raise asyncio.CancelledError
        asyncio.get_running_loop().call_soon(task.cancel)

    stage.tear(cancel)
    asyncio.run(stage.lives(stage.ends))
    assert stage.life.cancelled()
    assert stage.asked == ["j", "j"]
    stage.check()


def test_an_end_whose_reply_is_lost_is_written_again(stage: Stage) -> None:
    def cut() -> None:
        asyncio.get_running_loop().call_soon(stage.link.drop)  # when it has been sent

    def ends_and_drains() -> None:
        stage.ends()
        stage.worker.drain()

    stage.tear(cut)
    asyncio.run(stage.lives(ends_and_drains))
    assert not stage.life.cancelled()
    assert stage.asked == ["j", "j"]
    stage.check()


def test_a_worker_lives_over_no_link_that_would_stop_its_loop(stage: Stage) -> None:
    cell = stage.cell
    links = (cell.connect(), cell.connect())
    worker = Worker("w", links, cell.keys, NoopEngine(4), SETTINGS, SystemClock())
    with pytest.raises(TypeError, match="AsyncLink"):
        asyncio.run(worker.live(lambda: False))
