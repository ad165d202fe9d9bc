"""Where a setting comes from: a flag beats the environment, that beats the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallax.cli.main import COMMANDS, parallax
from parallax.cli.options import (
    found_url,
    policies_from,
    policy_arguments,
    server_url,
)
from parallax.core.errors import InvalidInput, UnknownPolicy, Unreachable
from parallax.core.settings import Policies, SchedulerSettings
from tests.unit.cli.invoking import CLOSED, Run

OTHER = "redis://127.0.0.1:2"

pytestmark = pytest.mark.usefixtures("run")  # an empty directory and environment


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    """Return the parameters a command would run with."""
    with parallax.make_context("parallax", [name]) as parent:
        command = parallax.get_command(parent, name)
        assert command is not None
        with command.make_context(name, list(arguments), parent=parent) as context:
            return context.params


@pytest.mark.parametrize(
    ("name", "flag", "variable", "parameter", "default"),
    [
        ("status", "--redis", "PARALLAX_REDIS", "redis", None),
        ("status", "--cell", "PARALLAX_CELL", "cell", "main"),
        ("worker", "--cell", "PARALLAX_CELL", "cell", "main"),
        ("loadgen", "--rate", "PARALLAX_LOADGEN_RATE", "rate", 20.0),
        ("loadgen", "--tenants", "PARALLAX_LOADGEN_TENANTS", "tenants", "default"),
        (
            "scheduler",
            "--window",
            "PARALLAX_SCHEDULER_WINDOW",
            "window",
            SchedulerSettings().window,
        ),
        ("worker", "--slots", "PARALLAX_WORKER_SLOTS", "slots", None),
        ("up", "--workers", "PARALLAX_UP_WORKERS", "workers", 4),
    ],
)
def test_a_flag_beats_the_environment_and_that_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    flag: str,
    variable: str,
    parameter: str,
    default: object,
) -> None:
    assert parsed(name)[parameter] == default
    monkeypatch.setenv(variable, "7")
    from_environment = parsed(name)[parameter]
    assert str(from_environment).startswith("7")
    assert parsed(name, flag, "9")[parameter] == type(from_environment)("9")


def test_the_home_directory_comes_from_flag_or_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARALLAX_HOME", "/from/environment")
    assert parsed("status")["home"] == Path("/from/environment")
    assert parsed("status", "--home", "/from/flag")["home"] == Path("/from/flag")


def test_a_bad_value_in_the_environment_ends_with_2(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_LOADGEN_RATE", "fast")
    answer = run("loadgen", "--redis", CLOSED)
    assert answer.code == 2
    assert "fast" in answer.err


# -- the settings file


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("color = 1", "color"),
        ("rate = 5", "rate"),
        ("[nope]\nrate = 5", "nope"),
        ("[loadgen]\nspeed = 5", "speed"),
        ("[worker]\nrate = 5", "rate"),
        ("status = 5", "status"),
        ("[status.redis]\na = 1\n[doctor]\nb = 2", "b"),
    ],
)
def test_an_unknown_key_ends_with_2_naming_file_and_key(run: Run, text: str, key: str) -> None:
    Path("parallax.toml").write_text(text)
    answer = run("status", "--redis", CLOSED)
    assert (answer.code, answer.out) == (2, "")
    assert "parallax.toml" in answer.err
    assert f"'{key}' is not allowed; known" in answer.err


def test_an_unknown_table_is_told_the_known_ones(run: Run) -> None:
    Path("parallax.toml").write_text("[nope]\n")
    answer = run("status")
    assert all(name in answer.err for name in COMMANDS)


@pytest.mark.parametrize("text", ["rate", "a = ", "[loadgen", "a = 1\na = 2"])
def test_what_is_not_toml_ends_with_2_naming_the_file(run: Run, text: str) -> None:
    Path("parallax.toml").write_text(text)
    answer = run("status")
    assert answer.code == 2
    assert "parallax.toml" in answer.err
    assert "TOML" in answer.err


def test_a_file_that_was_named_must_be_there(run: Run) -> None:
    answer = run("--config", "missing.toml", "version")
    assert answer.code == 2
    assert "missing.toml" in answer.err


def test_another_file_can_be_named(run: Run) -> None:
    Path("other.toml").write_text("[nope]\n")
    answer = run("--config", "other.toml", "version")
    assert answer.code == 2
    assert "other.toml" in answer.err


# -- the server's address


def test_a_named_server_beats_the_embedded_one() -> None:
    assert found_url(OTHER, None) == server_url(OTHER, None) == OTHER


def test_without_any_server_it_is_said_what_to_do(tmp_path: Path) -> None:
    assert found_url(None, tmp_path) is None
    with pytest.raises(Unreachable, match=r"parallax up.*--redis URL"):
        server_url(None, tmp_path)


# -- policies on the command line


def chosen(*arguments: str) -> Policies:
    parameters = parsed("scheduler", *arguments)
    return policies_from(parameters)


def test_without_options_the_default_policies_are_used() -> None:
    assert chosen() == Policies()


def test_a_parameter_without_a_kind_is_one_of_routing() -> None:
    policies = chosen("--routing", "power_of_two", "--set", "choices=3")
    assert policies.routing.name == "power_of_two"
    assert policies.routing.parameters == {"choices": "3"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--routing", "power_of_two", "--set", "routing.choices=3"],
        ["--fairness", "fifo", "--ordering", "fcfs", "--admission", "unlimited"],
    ],
    ids=["defaults", "a parameter", "other policies"],
)
def test_another_process_can_be_told_the_same_policies(arguments: list[str]) -> None:
    policies = chosen(*arguments)
    assert chosen(*policy_arguments(policies)) == policies


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "choices"], "choices"),
        (["--set", "nope.choices=3"], "nope.choices=3"),
        (["--routing", "power_of_two", "--set", "nope=3"], "nope"),
        (["--routing", "power_of_two", "--set", "choices=many"], "many"),
        (["--routing", "power_of_two", "--set", "choices=0"], "choices"),
        (["--gate", "nope"], "nope"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_policy_or_parameter_is_refused_by_name(arguments: list[str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        chosen(*arguments)


def test_an_unknown_policy_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownPolicy, match="round_robin"):
        chosen("--routing", "nope")
