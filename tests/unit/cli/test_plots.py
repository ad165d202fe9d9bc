"""`--plot FILE`: refused before any work where it cannot be drawn, and drawn as its name says."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallax.core.lifecycle import Outcome
from parallax.producers.cli.load_charts import MOST_TENANTS, live_charts
from parallax.producers.load.drive import Run, Sample
from tests.unit.cli.invoking import Run as Command

PNG = b"\x89PNG\r\n\x1a\n"


def sample(n: int, tenant: str = "acme", **fields: Any) -> Sample:
    values: dict[str, Any] = {
        "outcome": Outcome.COMPLETED, "ended": n + 2.0, "wait": 0.1, "ttft": 0.2, "e2e": 2.0
    }  # fmt: skip
    return Sample(tenant, float(n), float(n), **(values | fields))


def a_run(*samples: Sample) -> Run:
    return Run({str(n): one for n, one in enumerate(samples)}, offered_s=10.0, ended_s=12.0)


@pytest.mark.parametrize("name", ["run.svg", "run.png"])
def test_simulate_draws_what_its_record_says(run: Command, tmp_path: Path, name: str) -> None:
    pytest.importorskip("resvg_py")
    file = tmp_path / name
    done = run("simulate", "chat", "--limit", "20", "--plot", str(file), "--json")
    assert done.code == 0
    drawn = file.read_bytes()
    assert drawn.startswith(PNG if name.endswith("png") else b"<svg")
    if name.endswith("svg"):
        assert b"Time to first token" in drawn
        assert b"Simulated: chat" in drawn


@pytest.mark.parametrize("command", [["simulate", "chat"], ["compare", "chat", "-o", "x"],
                                     ["bench", "--against-sim"], ["loadgen"]])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_first(run: Command, command: list[str]) -> None:
    done = run(*command, "--plot", "picture.jpg")
    assert done.code == 2
    assert "'picture.jpg'" in done.err
    assert "ends with .svg or .png" in " ".join(done.err.split())


def test_pixels_want_an_extra(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def importing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "resvg_py":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", importing)
    done = run("simulate", "chat", "--plot", "picture.png")
    assert done.code == 2
    assert "parallax-lb[plot]" in done.err


def test_a_live_run_is_drawn_by_tenant_and_the_many_are_one_line() -> None:
    many = [sample(n % 10, f"t{n:02}") for n in range(MOST_TENANTS + 5)]
    many.append(sample(3, "t00", outcome=Outcome.EXPIRED, ttft=None, ended=None))
    charts = live_charts(a_run(*many))
    assert len(charts) == 6
    assert ">5 others<" in charts[0]
    assert charts[0].count("<path") > MOST_TENANTS
    assert "refused, or ended otherwise" in charts[3]


def test_a_run_of_which_nothing_ended_is_drawn() -> None:
    charts = live_charts(a_run(sample(1, outcome=None, ended=None, ttft=None, e2e=None, wait=None)))
    assert len(charts) == 3
    assert live_charts(Run()) == []
