"""A server at its memory limit: new work is refused, old work goes on, nobody looks dead."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import Registration
from parallax.broker.store.membership import Membership
from parallax.consumers.worker import Worker
from parallax.core.clock import ManualClock
from parallax.core.errors import ParallaxError, StoreFull
from parallax.core.lifecycle import Outcome, State
from parallax.producers.client.client import Client
from parallax.services.scheduler import SchedulerService
from tests.integration.cells import QUICK, BeatingCell, deaths, job, jobs
from tests.unit.cli.invoking import run_main

TTL_S = 1.0
#: The janitor looks at open jobs so early that it does while the server is full.
SETTINGS = replace(QUICK, heartbeat_s=TTL_S, repair_grace_s=0.5)
NAMES = [f"j{n}" for n in range(30)]


@pytest.fixture
def cell(server_url: str) -> Iterator[BeatingCell]:
    """Four workers hold some jobs, others wait in their queues."""
    links: list[Link] = []

    def connect() -> Link:
        links.append(Link.to(server_url))
        return links[-1]

    cell = BeatingCell(connect, beat_s=TTL_S)
    cell.scheduler(SETTINGS)
    for _ in range(4):
        cell.worker()
    cell.submit(*jobs(len(NAMES)))
    cell.until(lambda: all(len(w.desk.running) == 2 for w in cell.workers), "everybody to be busy")
    yield cell
    cell.close()
    for link in links:
        link.close()


@contextlib.contextmanager
def full(cell: BeatingCell) -> Iterator[None]:
    """Let the server be full."""
    cell.link.call("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        cell.link.call("CONFIG", "SET", "maxmemory", "0")


# -- those who are there --------------------------------------------------------------------------


def failures(monkeypatch: pytest.MonkeyPatch) -> list[ParallaxError]:
    """Return a list to which the errors are added for which a leader or a worker begins anew."""
    errors: list[ParallaxError] = []

    def noted(service: SchedulerService | Worker, error: ParallaxError) -> None:
        errors.append(error)

    for kind in (SchedulerService, Worker):
        monkeypatch.setattr(kind, "recover", noted)
    return errors


@pytest.mark.slow
def test_nobody_is_taken_for_dead_and_the_leader_stays(
    cell: BeatingCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, failed = deaths(monkeypatch), failures(monkeypatch)
    leader = cell.link.call("GET", cell.keys.leader)
    with full(cell):
        cell.for_periods(3)
        assert cell.everybody_beats()
        assert cell.link.call("GET", cell.keys.leader) == leader
    cell.for_periods(0.5)
    assert given_up == []
    assert failed == []
    assert cell.link.call("GET", cell.keys.leader) == leader


@pytest.mark.slow
def test_hearts_that_are_written_anew_would_stop(
    cell: BeatingCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a heartbeat that is a SET and no PEXPIRE."""

    def beat(self: Membership, worker: str, incarnation: str, ttl_ms: int, _: Registration) -> bool:
        self._link.call("SET", self._keys.heartbeat(worker), incarnation, "PX", ttl_ms)
        return False

    monkeypatch.setattr(Membership, "beat", beat)
    given_up = deaths(monkeypatch)
    with full(cell):
        cell.until(lambda: given_up, "somebody to be given up who lives")


@pytest.mark.dear
def test_the_dead_are_given_up_by_a_new_leader_and_the_paused_come_back(
    cell: BeatingCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, failed = deaths(monkeypatch), failures(monkeypatch)
    victim, paused = cell.workers.pop(), cell.workers[0]
    with full(cell):
        victim.heartbeat.stop()
        cell.schedulers.pop()._let_the_lease_go()  # as when its process dies
        leader = cell.scheduler(SETTINGS)
        cell.link.call("DEL", cell.keys.heartbeat(paused.id))
        cell.until(lambda: leader.leading, "the standby to lead")
        cell.until(lambda: victim.id in given_up, "the dead worker to be given up")
        cell.until(cell.everybody_beats, "the paused one to beat again")
        cell.let_go()
        cell.until_ended(*NAMES)
    assert failed == []
    assert cell.counts()["completed"] == len(NAMES)


# -- work that was accepted -----------------------------------------------------------------------


def test_what_was_accepted_begins_and_drains(cell: BeatingCell) -> None:
    waiting = [name for name in NAMES if cell.state(name) is State.QUEUED]
    assert waiting
    with full(cell):
        cell.let_go()
        cell.until_ended(*NAMES)
        assert cell.counts()["completed"] == len(NAMES)
        assert {cell.outcome(name) for name in waiting} == {Outcome.COMPLETED}


def test_what_was_accepted_can_be_cancelled(cell: BeatingCell) -> None:
    running = next(name for name in NAMES if cell.state(name) is State.RUNNING)
    waiting = next(name for name in NAMES if cell.state(name) is State.QUEUED)
    with full(cell):
        assert [cell.cancel(name) for name in (running, waiting)] == ["ok", "ok"]
        cell.until(
            lambda: not any(running in worker.desk.running for worker in cell.workers),
            "the engine to be told",
        )


# -- work that is new -----------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list with an item for each time that something is sent."""
    sent: list[int] = []
    send = Link.send

    def noted(link: Link, commands):  # type: ignore[no-untyped-def]
        sent.append(len(commands))
        send(link, commands)

    monkeypatch.setattr(Link, "send", noted)
    return sent


def test_a_new_job_is_refused_at_once_with_a_time_to_come_back(
    cell: BeatingCell, server_url: str
) -> None:
    clock = ManualClock()
    client = Client(server_url, "cell", clock=clock)
    began = clock.monotonic()
    with full(cell), pytest.MonkeyPatch.context() as patch:
        sent = counted(patch)
        for worker in cell.workers:
            worker.heartbeat._stop.set()  # nobody else sends
            worker.heartbeat._thread.join()
        sent.clear()
        with pytest.raises(StoreFull, match="try again in 5 s") as refusal:
            client.submit([job("refused")])
        assert refusal.value.retry_after_s == 5
        assert sent in ([1], [1, 1])  # by its digest, and whole if it was not known
        assert clock.monotonic() == began  # no waits, so nothing was repeated
    assert cell.record("refused") is None
    client.close()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_so_and_exits(
    cell: BeatingCell, server_url: str, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    with full(cell):
        answer = run_main(
            capsys, "submit", "--redis", server_url, "--cell", "cell", "--id", "refused",
            "--prompt-tokens", "5", "--max-tokens", "5", *(["--json"] if as_json else []),
        )  # fmt: skip
    assert answer.code == 1
    if as_json:
        told = json.loads(answer.out)
        assert (told["id"], told["state"]) == ("refused", "refused")
    else:
        assert answer.out.startswith("refused refused")
    assert "Redis refuses writes that grow it" in answer.out
    assert "try again in 5 s" in answer.out


def test_with_room_again_everything_goes_on(cell: BeatingCell) -> None:
    with full(cell), pytest.raises(StoreFull):
        cell.submit(job("late"))
    assert cell.submit(job("late"))[0].word == "ok"
    cell.let_go()
    cell.until_ended(*NAMES, "late")
    assert cell.counts()["completed"] == len(NAMES) + 1
    report: Callable[[], dict[bytes, bytes]] = lambda: _report(cell)  # noqa: E731
    cell.until(lambda: report()[b"running"] == b"0", "workers to report again")


def _report(cell: BeatingCell) -> dict[bytes, bytes]:
    flat = iter(cell.link.call("HGETALL", cell.keys.status(cell.workers[0].id)))
    return dict(zip(flat, flat, strict=True))
