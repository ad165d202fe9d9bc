"""A crew goes on whatever befalls one of its workers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest

from parallax.consumers.worker import Worker
from parallax.core.clock import ManualClock
from parallax.core.settings import WorkerSettings
from parallax.drills.crew import Crew, Killed


class Moody:
    """A worker whose turns go as they were told to."""

    def __init__(self, crew: Crew, turns: list[BaseException | None]) -> None:
        self._crew, self._turns, self.recovered = crew, turns, list[Exception]()
        self.closed = False
        self.heartbeat = self

    def run_once(self) -> None:
        """Take the next turn; after the last one the crew is to leave."""
        turn = self._turns.pop(0)
        if not self._turns:
            self._crew.stop.set()
        if turn is not None:
            raise turn

    def recover(self, error: Exception) -> None:
        """Note it."""
        self.recovered.append(error)

    def stop(self) -> None:
        """Stop the heartbeat."""

    def close(self) -> None:
        """Leave."""
        self.closed = True


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Return a crew of one that never pauses."""
    crew = Crew("", "drill", 1, WorkerSettings(), 1, Path(), ManualClock())
    monkeypatch.setattr(crew.stop, "wait", lambda _seconds: crew.stop.is_set())
    return crew


def worked(crew: Crew, monkeypatch: pytest.MonkeyPatch, workers: list[Any]) -> None:
    def worker(_crew: Crew, number: int) -> Worker:
        found = workers.pop(0)
        if isinstance(found, Exception):
            raise found
        return cast("Worker", found)

    monkeypatch.setattr(Crew, "_worker", worker)
    crew._live(1)


def test_a_defect_in_a_turn_is_logged_and_the_worker_goes_on(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    defect = ValueError("a defect")
    worker = Moody(crew, [defect, None])
    with caplog.at_level(logging.ERROR):
        worked(crew, monkeypatch, [worker])
    assert worker.recovered == [defect]
    assert worker.closed
    assert "a defect" in caplog.text


def test_a_worker_that_cannot_be_made_is_made_again(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Moody(crew, [None])
    with caplog.at_level(logging.ERROR):
        worked(crew, monkeypatch, [OSError("too many files"), worker])
    assert worker.closed
    assert "too many files" in caplog.text


def test_poison_kills_its_worker_and_another_comes(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Moody(crew, [Killed(), None]), Moody(crew, [None])
    worked(crew, monkeypatch, [first, second])
    assert not first.closed
    assert second.closed
