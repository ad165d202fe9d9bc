"""Where settings come from, and what odd ones do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.cli.main import parallax
from tests.unit.cli.invoking import CLOSED, Run


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    with parallax.make_context("parallax", [name]) as parent:
        command = parallax.get_command(parent, name)
        assert command is not None
        with command.make_context(name, list(arguments), parent=parent) as context:
            return context.params


@pytest.mark.parametrize("text", ["", "# nothing\n", 'cell = "blue"\n', "[loadgen]\nrate = 5\n"])
def test_any_command_works_beside_a_good_settings_file(run: Run, text: str) -> None:
    Path("parallax.toml").write_text(text)
    assert run("version").code == 0


def test_flag_environment_file_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("parallax.toml").write_text('cell = "file"\n[loadgen]\nrate = 5\n')
    assert parsed("status")["cell"] == parsed("loadgen")["cell"] == "file"
    assert parsed("loadgen")["rate"] == 5.0
    monkeypatch.setenv("PARALLAX_CELL", "env")
    monkeypatch.setenv("PARALLAX_LOADGEN_RATE", "6")
    assert (parsed("status")["cell"], parsed("loadgen")["rate"]) == ("env", 6.0)
    assert parsed("loadgen", "--rate", "7", "--cell", "flag")["rate"] == 7.0
    assert parsed("loadgen", "--rate", "7", "--cell", "flag")["cell"] == "flag"


def test_shared_settings_reach_the_commands_of_a_group(run: Run) -> None:
    Path("parallax.toml").write_text(f'redis = "{CLOSED}"\n')
    answer = run("tenants", "list")
    assert answer.code == 4
    assert "127.0.0.1:1" in answer.err


@pytest.mark.parametrize(
    ("table", "key", "parameter"),
    [("demo", "duration = 3.0", "duration_s"), ("up", 'routing = "round_robin"', "routing")],
)
def test_a_key_is_called_like_the_option(run: Run, table: str, key: str, parameter: str) -> None:
    Path("parallax.toml").write_text(f"[{table}]\n{key}\n")
    assert str(parsed(table)[parameter]) in key


def test_a_variable_is_called_like_the_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_DEMO_DURATION", "7")
    assert parsed("demo")["duration_s"] == 7.0


def test_a_settings_file_that_is_not_utf_8_ends_with_2(run: Run) -> None:
    Path("parallax.toml").write_bytes(b'cell = "\xff"\n')
    assert run("version").code == 2


def test_a_file_of_jobs_that_is_not_utf_8_ends_with_2(run: Run) -> None:
    Path("jobs.jsonl").write_bytes(b"\xff\n")
    assert run("submit", "-f", "jobs.jsonl", "--redis", CLOSED).code == 2


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "nan"], ["--rate", "inf"], ["--duration", "nan"], ["--sessions", "-1"]],
    ids=" ".join,
)
def test_loadgen_refuses_numbers_that_cannot_be(run: Run, arguments: list[str]) -> None:
    assert run("loadgen", "--redis", CLOSED, *arguments).code == 2


@pytest.mark.timeout(10)
def test_loadgen_without_a_server_ends_with_4(run: Run) -> None:
    assert run("loadgen", "--redis", CLOSED, "--duration", "0.1").code == 4


def test_an_unreachable_server_is_told_what_to_type_next(run: Run) -> None:
    assert "parallax" in run("status", "--redis", CLOSED).err.removeprefix("parallax:")


@pytest.mark.parametrize("url", ["redis://h:1?foo=hunter2", "redis://a..b", "redis://" + "a" * 70])
def test_an_odd_url_is_a_clear_error(run: Run, url: str) -> None:
    answer = run("status", "--redis", url)
    assert answer.code in {2, 4}
    assert "hunter2" not in answer.err


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1?password=hunter2", "user:hunter2@host:1"])
@pytest.mark.parametrize("command", ["doctor", "status"])
def test_a_password_elsewhere_is_not_printed(run: Run, command: str, url: str) -> None:
    answer = run(command, "--redis", url)
    assert "hunter2" not in answer.out + answer.err


def test_an_error_cannot_steer_the_terminal(run: Run) -> None:
    Path("jobs.jsonl").write_text(json.dumps({"\x1b[31m\n": 1}))
    answer = run("submit", "-f", "jobs.jsonl", "--redis", CLOSED)
    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_release_candidate_is_a_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.cli.test_doctor import Told

    monkeypatch.setattr(Link, "to", lambda _: Told("redis_version:8.2.0-rc1"))
    assert run("doctor", "--json", "--redis", CLOSED).document


def test_files_may_begin_with_a_byte_order_mark(run: Run) -> None:
    """Editors of Windows write one: in settings, jobs, specs and loads."""
    Path("parallax.toml").write_bytes(b'\xef\xbb\xbfcell = "blue"\r\n')
    assert parsed("status")["cell"] == "blue"
    Path("jobs.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt_tokens": 5, "max_tokens": 2}\r\n')
    assert run("submit", "-f", "jobs.jsonl", "--redis", CLOSED).code == 4  # it has read the file
    load = 'kind = "singles"\nstages = [{ rate = 50.0, seconds = 1.0 }]\n'
    Path("load.toml").write_bytes(b"\xef\xbb\xbf" + load.encode())
    assert run("trace", "stats", "load.toml").code == 0
    Path("run.toml").write_bytes(b'\xef\xbb\xbf[workload]\npath = "load.toml"\n')
    assert run("simulate", "--spec", "run.toml").code == 0


def test_no_jobs_to_submit_never_ends_with_0(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("jobs.jsonl").write_text("\n\n")
    answer = run("submit", "-f", "jobs.jsonl", "--redis", CLOSED)
    assert (answer.code, answer.out) == (2, "")
    assert "jobs.jsonl" in answer.err
