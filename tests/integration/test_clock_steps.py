"""The server's clock steps by an hour, and the clocks of its clients do not.

Forward, every heartbeat and the lease are over at once; backward, those of the dead last an hour
more. Both must cost seconds, and no job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Script, script
from parallax.broker.store import membership
from parallax.broker.store.membership import Leadership
from parallax.consumers.worker import Worker
from parallax.core.lifecycle import Outcome
from parallax.core.settings import SchedulerSettings
from parallax.services.recoverer import Recoverer
from parallax.services.scheduler import SchedulerService
from tests.integration.cells import BeatingCell, deaths, job
from tests.integration.stepping import HOUR, SteppedServer
from tests.servers import EMBEDDED, OLDEST, SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TTL_S = 4.0
SETTINGS = SchedulerSettings(
    lease_s=2.0, heartbeat_s=TTL_S, poll_s=0.05, block_s=0.001, sweep_s=0.5, repair_grace_s=10.0,
    idle_s=0.0,
)  # fmt: skip
WORKERS, JOBS = 10, 40
NAMES = [f"j{n}" for n in range(JOBS)]


@dataclass(slots=True)
class SteppedCell(BeatingCell):
    """A cell on a server whose clock can be stepped."""

    server: SteppedServer = field(kw_only=True)
    given_up: list[str] = field(kw_only=True)

    def left_ms(self, key: str) -> int:
        """Return how long a key has to live."""
        return int(self.link.call("PTTL", key))

    def everything_ended_once(self, *names: str) -> None:
        """Take turns until these jobs have ended; each of them completed, and was counted once."""
        self.until_ended(*names)
        assert {self.outcome(name) for name in names} == {Outcome.COMPLETED}
        assert self.counts()["completed"] == len(names)
        assert self.dead_letters() == []


@pytest.fixture(scope="module", params=[EMBEDDED.name, OLDEST.name])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SteppedServer]:
    binary = SERVERS[request.param].path()
    stepped = SteppedServer(tmp_path_factory.mktemp("clock"), binary)
    yield stepped
    stepped.server.stop()


@pytest.fixture
def cell(server: SteppedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SteppedCell]:
    """Ten workers that are busy for as long as the test wants, and a leader."""
    server.step(0)
    links: list[Link] = []

    def connect() -> Link:
        links.append(Link.to(server.url))
        return links[-1]

    cell = SteppedCell(connect, beat_s=TTL_S, server=server, given_up=deaths(monkeypatch))
    cell.link.call("FLUSHALL")
    cell.scheduler(SETTINGS)
    for _ in range(WORKERS):
        cell.worker()
    cell.submit(*(job(name) for name in NAMES))
    cell.until(lambda: all(len(w.desk.running) == 2 for w in cell.workers), "everybody to be busy")
    assert cell.given_up == []
    yield cell
    cell.close()
    for link in links:
        link.close()


# -- an hour forward ------------------------------------------------------------------------------


def test_an_hour_forward_is_not_the_death_of_the_fleet(cell: SteppedCell) -> None:
    """At most a fifth is given up, even by a leader who comes when the most have beaten again."""
    cell.server.step(HOUR)
    cell.until(cell.everybody_beats, "everybody to beat again")
    cell.for_periods(1.5)
    assert len(cell.given_up) <= WORKERS // 5
    cell.let_go()
    cell.everything_ended_once(*NAMES)


def test_the_dead_are_found_among_those_who_an_hour_forward_made_look_dead(
    cell: SteppedCell,
) -> None:
    victim = cell.workers.pop()
    victim.heartbeat.stop()
    cell.server.step(HOUR)
    cell.until(lambda: victim.id in cell.given_up, "the dead one to be given up")
    assert len(cell.given_up) <= WORKERS // 5
    cell.let_go()
    cell.everything_ended_once(*NAMES)


def test_without_the_cap_an_hour_forward_would_be(
    cell: SteppedCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: who is missing is dead, and more than a fifth is at once."""
    monkeypatch.setattr(Recoverer, "_believed_dead", lambda self, *_: sorted(self._looks))
    cell.server.step(HOUR)
    cell.until(cell.everybody_beats, "everybody to beat again")
    assert len(cell.given_up) > WORKERS // 5


# -- an hour back ---------------------------------------------------------------------------------


def fallen(cell: SteppedCell) -> tuple[Worker, SchedulerService]:
    """Let a worker and the leader die just before the clock goes back; return it and a standby."""
    victim = cell.workers.pop()
    victim.heartbeat.stop()
    standby = cell.scheduler(SETTINGS)
    cell.schedulers[:] = [standby]
    cell.server.step(-HOUR)
    for key in (cell.keys.heartbeat(victim.id), cell.keys.leader):
        assert cell.left_ms(key) > (HOUR - 60) * 1000
    return victim, standby


def test_an_hour_back_leaves_no_dead_worker_and_no_dead_leader(cell: SteppedCell) -> None:
    victim, standby = fallen(cell)
    cell.until(lambda: standby.leading, "the standby to lead")
    cell.submit(job("new"))
    cell.until(lambda: victim.id in cell.given_up, "the dead worker to be given up")
    assert cell.given_up == [victim.id]
    cell.let_go()
    cell.everything_ended_once(*NAMES, "new")


def test_without_the_clamp_the_dead_would_live_for_an_hour(
    cell: SteppedCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control, first for the lease and then for the heartbeat."""
    unclamped(monkeypatch)
    victim, standby = fallen(cell)
    cell.for_periods(1.5)
    assert not standby.leading
    cell.link.call("DEL", cell.keys.leader)
    cell.until(lambda: standby.leading, "the standby to lead")
    cell.for_periods(1.5)
    assert cell.given_up == []
    assert cell.left_ms(cell.keys.heartbeat(victim.id)) > (HOUR - 60) * 1000


def unclamped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody cut back what lasts too long."""

    def planted(name: str) -> Script:
        told = script(name)
        if name != "lead":
            return told
        text = told.text.replace("or left > tonumber(ARGV[2]) or left == -1", "")
        assert text != told.text
        return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    monkeypatch.setattr(membership, "script", planted)
    monkeypatch.setattr(Leadership, "clamp", nothing)
