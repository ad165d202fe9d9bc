"""A live run: what it kills, and what it closes."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import pytest

from parallax.core.cells import CellAddress
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput, Unreachable
from parallax.producers.load.crashes import Crash, kill
from parallax.producers.load.live import Live
from parallax.services.orders import Orders
from parallax.services.processes import Child, Processes
from parallax.services.system import Plan, System
from tests.unit.cli.invoking import CLOSED

# -- what is killed


@pytest.fixture
def system() -> System:
    """Return a system whose processes have all ended."""
    system = System(Plan(), ManualClock(), url=CLOSED)
    system._processes = Processes({}, ManualClock(), guardian=system.guardian)
    for name in ("worker-1", "scheduler-1"):
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        system._processes.children[name] = Child(name, (), process)
    return system


@pytest.mark.parametrize("victim", ["worker", "scheduler"])
def test_where_nobody_is_alive_nobody_is_killed(system: System, victim: str) -> None:
    assert kill(system, victim) == ""


def test_a_kill_waits_until_it_is_known_who_leads(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Crash("scheduler", 5)
    said: list[str] = []
    live = Live("", "main", ManualClock(), system, [crash], say=said.append)
    answers: list[Exception | str] = [Unreachable("the server was killed"), "", "scheduler-2"]

    def killed(system: System, victim: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("parallax.producers.load.live.kill", killed)
    for done in ("", "", "scheduler-2"):
        live._crash(5)
        assert crash.done == done
    live._crash(6)
    assert said == ["killed scheduler-2 with SIGKILL"]


# -- what is closed


class Refusing:
    """A client in whose cell weights are refused."""

    closed = False

    def ping(self) -> None:
        """Answer."""

    def set_weights(self, weights: dict[str, float]) -> None:
        """Refuse."""
        raise InvalidInput("weight of acme", 0.0, "more")

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_the_client_is_closed_where_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Refusing()
    system = cast("System", object())
    live = Live.of([CellAddress("main", "")], ManualClock(), system, [], {"acme": 0.0}, Orders())
    monkeypatch.setattr(Live, "connect", lambda _: client)
    with pytest.raises(InvalidInput):
        live.run([])
    assert client.closed
