"""`loadgen --workers N`: a private system is private, whatever server the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallax.core.errors import ParallaxError
from parallax.producers.cli import load
from parallax.services.system import Plan, System
from tests.unit.cli.invoking import CLOSED, Run


class Started(ParallaxError):
    """A system was to be started."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return how systems were to be started; none is."""
    found: list[dict[str, Any]] = []

    def system(plan: Plan, clock: object, **options: Any) -> System:
        found.append({"workers": plan.workers, **options})
        raise Started

    monkeypatch.setattr(load, "System", system)
    return found


@pytest.mark.parametrize("place", ["environment", "environment's file", "file"])
def test_workers_of_its_own_never_enter_a_running_cell(
    run: Run, started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "environment":
        monkeypatch.setenv("PARALLAX_REDIS", CLOSED)
    elif place == "file":
        Path("parallax.toml").write_text(f'redis = "{CLOSED}"\n')
    else:
        Path("address").write_text(CLOSED)
        monkeypatch.setenv("PARALLAX_REDIS_FILE", "address")
    run("loadgen", "--workers", "3", "--duration", "1", "--weights", "default:2")
    assert len(started) == 1
    assert started[0]["workers"] == 3
    assert started[0]["ephemeral"]
    assert started[0].get("url") is None


@pytest.mark.parametrize(
    "flags", [("--redis", "redis://u:hunter2@h"), ("--cells", "a=redis://u:hunter2@h")]
)
def test_a_server_named_beside_workers_of_its_own_is_refused(
    run: Run, started: list[dict[str, Any]], flags: tuple[str, str]
) -> None:
    answer = run("loadgen", "--workers", "3", *flags)
    assert answer.code == 2
    assert flags[0] in answer.err
    assert "private system" in answer.err
    assert "hunter2" not in answer.err
    assert not started
