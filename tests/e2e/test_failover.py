"""A replica takes over under load: nothing is lost but what was told to be unconfirmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from parallax.broker.store.confirming import Replicated
from parallax.broker.store.results import Record
from parallax.core.errors import ParallaxError, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.client import Client
from tests.sentinels import Watched
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
ASKED = Replicated(1, 1_200)
BATCH = 20


@pytest.fixture
def watched() -> Iterator[Watched]:
    with Watched() as one:
        yield one


@contextmanager
def command(url: str, *words: str) -> Iterator[None]:
    """Run `parallax WORDS...` inside."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PARALLAX_REDIS": url}
    with subprocess.Popen(
        [sys.executable, "-m", "parallax", *words], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


@dataclass(slots=True)
class Load:
    """Submits without rest; what it was told of each job."""

    url: str
    confirmed: set[str] = field(default_factory=set)
    unconfirmed: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Submit until told to stop; who cannot be asked is asked again, with other jobs."""
        with Client(self.url, replicated=ASKED) as client:
            for turn in count():
                if self.stop.is_set():
                    return
                self.submit(client, [f"job-{turn}-{n}" for n in range(BATCH)])

    def submit(self, client: Client, names: list[str]) -> None:
        """Submit some jobs and note what is told of them."""
        jobs = [Job(name, "acme", prompt_tokens=10, max_tokens=5) for name in names]
        try:
            receipts = client.submit(jobs)
        except ParallaxError:
            self.stop.wait(0.1)
            return
        for receipt in receipts:
            if receipt.accepted:
                told = self.confirmed if receipt.confirmed else self.unconfirmed
                told.add(receipt.job_id)


def lost(url: str, names: set[str]) -> set[str]:
    """Return those of the jobs that nothing is known of; the others must end."""
    every = sorted(names)
    with Client(url) as client:
        records = patient(client, every)
        found = {name for name, one in zip(every, records, strict=True) if one}

        def ended() -> bool:
            some = sorted(found)
            return all(
                one is not None and one.outcome is Outcome.COMPLETED
                for one in patient(client, some)
            )

        wait_until(ended, "what was kept to end", 90.0)
    return names - found


def patient(client: Client, names: list[str]) -> list[Record | None]:
    """Return records; sentinels may name who led before for a moment yet."""
    came: list[list[Record | None]] = []

    def asked() -> bool:
        with suppress(Unreachable):
            came.append(client.records(names))
        return bool(came)

    wait_until(asked, "whoever leads to answer", 30.0)
    return came[0]


def only_unconfirmed(gone: set[str], confirmed: set[str]) -> None:
    """Assert the promise."""
    assert not gone & confirmed, sorted(gone & confirmed)[:5]


@contextmanager
def working(url: str) -> Iterator[None]:
    with ExitStack() as running:
        running.enter_context(command(url, "scheduler"))
        running.enter_context(command(url, "worker", "--engine", "noop"))
        yield


def test_what_was_confirmed_outlives_its_server(watched: Watched) -> None:
    load = Load(watched.url)
    thread = threading.Thread(target=load.run)
    with working(watched.url):
        thread.start()
        try:
            wait_until(lambda: len(load.confirmed) > 100, "jobs to be confirmed", 60.0)
            watched.primary.send(signal.SIGKILL)
            wait_until(lambda: watched.leads(watched.replica), "the replica to lead", 60.0)
            before = len(load.confirmed | load.unconfirmed)
            after = lambda: len(load.confirmed | load.unconfirmed) > before + 50  # noqa: E731
            wait_until(after, "jobs to be accepted again", 60.0)
        finally:
            load.stop.set()
            thread.join(60.0)
        assert load.unconfirmed, "there is no replica any more, and that was told"
        gone = lost(watched.url, load.confirmed | load.unconfirmed)
    only_unconfirmed(gone, load.confirmed)


def test_the_control_what_no_replica_has_is_lost_and_was_told(watched: Watched) -> None:
    load = Load(watched.url)
    with Client(watched.url, replicated=ASKED) as client:
        load.submit(client, ["kept"])
        assert load.confirmed == {"kept"}
        watched.replica.send(signal.SIGSTOP)
        assert watched.primary.ask("CLIENT", "KILL", "TYPE", "replica") is not None
        load.submit(client, ["a", "b"])
        (again,) = client.submit([Job("kept", "acme", prompt_tokens=10, max_tokens=5)])
    assert load.unconfirmed == {"a", "b"}
    assert (again.accepted, again.confirmed) == (True, False), "of a duplicate it is told anew"
    watched.primary.send(signal.SIGKILL)
    watched.replica.send(signal.SIGCONT)
    wait_until(lambda: watched.leads(watched.replica), "the replica to lead", 60.0)
    with working(watched.url):
        gone = lost(watched.url, {"a", "b", "kept"})
    assert gone == {"a", "b"}
    only_unconfirmed(gone, load.confirmed)
    with pytest.raises(AssertionError):
        only_unconfirmed(gone, load.confirmed | {"a"})
