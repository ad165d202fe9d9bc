"""What is shown while a simulation runs: on a terminal only, and without changing the run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parallax.cli.progress import progress, watched
from parallax.core.model import Job
from tests.unit.cli.invoking import Run

JOBS = [(n / 10, Job(f"j{n}", "acme", 1, 1)) for n in range(450)]


def test_jobs_pass_unchanged_and_are_counted_now_and_then() -> None:
    said: list[str] = []
    assert list(watched(JOBS, said.append)) == JOBS
    assert said == [
        "200 jobs have arrived, 20 s are simulated", "400 jobs have arrived, 40 s are simulated",
    ]  # fmt: skip


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as told:
        told("something")
    assert capsys.readouterr() == ("", "")


@pytest.mark.dear
def test_on_a_terminal_it_is_shown_on_stderr(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("load.toml").write_text('kind = "singles"\nstages = [{ rate = 20.0, seconds = 2.0 }]\n')
    plain = run("simulate", "load.toml", "--json")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress() as told:
        told("something")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err != ""
    assert run("simulate", "load.toml", "--json").document == plain.document
