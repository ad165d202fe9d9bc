"""What a system tells its child processes, and what becomes of one that was used wrongly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from parallax.broker.store.keys import Keys
from parallax.core.errors import ParallaxError
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.services.processes import Processes
from parallax.services.system import Plan, System


class Spawned(Exception):
    """A process was to be started."""


def test_children_are_told_by_arguments_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, str] = {}

    def spawned(command: list[str], *, env: dict[str, str], **_: object) -> None:
        told.update(env)
        raise Spawned

    for name in ("PARALLAX_WORKER_METRICS_PORT", "PARALLAX_SCHEDULER_SET", "PARALLAX_UP_WORKERS"):
        monkeypatch.setenv(name, "9")
    monkeypatch.setenv("PARALLAX_CONFIG", "the/users/own.toml")
    monkeypatch.setattr(subprocess, "Popen", spawned)
    with pytest.raises(Spawned):
        Processes({"PARALLAX_REDIS": "a"}, SystemClock()).start(
            "w", "worker", environment={"PARALLAX_WORKER_NAME": "given"}
        )
    found = {name: text for name, text in told.items() if name.startswith("PARALLAX_")}
    found.pop("PARALLAX_UP_WORKERS")
    assert found.pop("PARALLAX_CONFIG") == os.devnull
    assert found.pop("PARALLAX_REDIS") == "a"
    assert found.pop("PARALLAX_WORKER_NAME") == "given"
    assert not [name for name in found if name.startswith(("PARALLAX_WORKER", "PARALLAX_SCHED"))]


@pytest.mark.dear
def test_a_system_whose_scheduler_was_used_wrongly_does_not_start(
    embedded_url: str, tmp_path: Path
) -> None:
    plan = Plan(0, 1, scheduler_arguments=("--routing", "nobody"), cell=Keys("wrong").cell)
    system = System(plan, SystemClock(), url=embedded_url, logs=tmp_path, orders=Orders())
    with pytest.raises(ParallaxError, match="scheduler-1 cannot be started"):
        system.start()
    assert "nobody" in (tmp_path / "scheduler-1.log").read_text()
    assert not system.processes.children
