"""Kubernetes puts addresses of services into the environment, under names that options may have."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from parallax.cli.main import COMMANDS, parallax
from tests.unit.cli.invoking import Run

LINKS = ["tcp://10.96.3.7:9101", "udp://10.96.3.7:53", "sctp://[fd00::7]:9101"]
NUMBERS = (click.types.IntParamType, click.types.FloatParamType)


def commands() -> Iterator[tuple[list[str], click.Command]]:
    """Give every command and subcommand, as it is called."""
    with click.Context(parallax) as context:
        for name in COMMANDS:
            command = parallax.get_command(context, name)
            assert command is not None
            yield [name], command
            for child, sub in getattr(command, "commands", {}).items():
                yield [name, child], sub


def numbers() -> list[tuple[str, str]]:
    """Return (command, option) for every option that takes a number."""
    return [
        (" ".join(words), parameter.opts[0])
        for words, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option) and isinstance(parameter.type, NUMBERS)
    ]


def variable(command: str, option: str) -> str:
    words = f"parallax {command} {option.lstrip('-')}".replace("-", "_").replace(" ", "_")
    return words.upper()


def parsed(command: str, option: str) -> object:
    """Return what click makes of the option's variable."""
    with click.Context(parallax) as context:
        found: click.Command | None = parallax
        for word in command.split():
            assert isinstance(found, click.Group)
            found = found.get_command(context, word)
        assert found is not None
        (parameter,) = (p for p in found.params if option in p.opts)
        with click.Context(found) as own:
            return parameter.consume_value(own, {})[0]


@pytest.mark.sampled(12)
@pytest.mark.parametrize(("command", "option"), numbers())
def test_an_address_is_not_taken_for_a_number(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    unset = parsed(command, option)
    for link in LINKS:
        monkeypatch.setenv(variable(command, option), link)
        assert parsed(command, option) == unset
    monkeypatch.setenv(variable(command, option), "17")  # the control: it is read
    assert parsed(command, option) in ("17", ["17"], ("17",))  # some may be repeated


def test_metrics_ports_are_among_them() -> None:
    ports = {command for command, option in numbers() if option == "--metrics-port"}
    assert {"worker", "scheduler", "up"} <= ports


def test_a_worker_starts_beside_a_service_of_that_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_WORKER_METRICS_PORT", LINKS[0])
    answer = run("worker", "--redis", "redis://127.0.0.1:1")
    assert answer.code == 4  # it went on until it found no server
    monkeypatch.setenv("PARALLAX_WORKER_METRICS_PORT", "http://10.96.3.7")
    answer = run("worker", "--redis", "redis://127.0.0.1:1")
    assert answer.code == 2
    assert "--metrics-port" in answer.err
