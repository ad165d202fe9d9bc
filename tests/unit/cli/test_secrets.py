"""Where the URL of the server may come from, and who may see its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallax.broker import secret_file
from tests.unit.cli.invoking import CLOSED, Run

SECRET = CLOSED.replace("redis://", "redis://user:hunter2@")


def test_the_url_may_stand_in_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("url").write_text(SECRET + "\n")
    Path("url").chmod(0o640)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "url")
    answer = run("status")
    assert answer.code == 4  # it was read, and nobody listens there
    assert "hunter2" not in answer.err + answer.out
    assert "arguments" not in answer.err


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_file_with_a_password_must_be_closed_to_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    Path("url").write_text(SECRET + "\n")
    Path("url").chmod(mode)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "url")
    answer = run("status")
    assert answer.code == 2
    assert "PARALLAX_REDIS_FILE: 'url' is not allowed" in answer.err
    assert "chmod o-rwx" in answer.err
    assert "hunter2" not in answer.err
    Path("url").write_text(CLOSED)  # the control: no secret in it
    assert run("status").code == 4


def test_what_a_container_mounts_as_a_secret_is_readable_by_all_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text(SECRET)
    monkeypatch.setattr(secret_file, "MOUNTED", (f"{tmp_path}/",))
    assert secret_file.read_url(tmp_path / "url", "field") == SECRET


def test_a_flag_beats_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "nowhere")
    assert run("status", "--redis", CLOSED).code == 4


def test_a_file_that_cannot_be_read_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "nowhere")
    answer = run("status")
    assert answer.code == 2
    assert "nowhere" in answer.err


def test_a_password_among_the_arguments_is_warned_of_and_not_told(run: Run) -> None:
    answer = run("status", "--redis", SECRET)
    assert "arguments" in answer.err
    assert "hunter2" not in answer.err
    assert "arguments" not in run("status", "--redis", CLOSED).err


def test_one_in_the_environment_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS", SECRET)
    assert "arguments" not in run("status").err
