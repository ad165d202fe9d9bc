"""`--help` of every command lists its options, and costs the import of no more than it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from parallax import __version__
from parallax.cli.main import COMMANDS, LazyGroup, parallax
from tests.unit.cli.invoking import Run

ROOT = Path(__file__).parents[3]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command and every command of a group, by the words that call it."""
    root = click.Context(parallax)
    for name in COMMANDS:
        command = parallax.get_command(root, name)
        assert command is not None, name
        yield name, command
        if isinstance(command, click.Group):
            for word, inner in command.commands.items():
                yield f"{name} {word}", inner


EVERY = dict(commands())


@pytest.mark.parametrize("words", EVERY)
def test_help_lists_every_option_with_its_meaning(words: str) -> None:
    result = CliRunner().invoke(parallax, [*words.split(), "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: parallax {words} ")
    for parameter in EVERY[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert max(parameter.opts, key=len) in result.output
        else:
            shown = parameter.make_metavar(click.Context(EVERY[words]))
            assert shown in "".join(result.output.split()), shown  # it may be folded


@pytest.mark.parametrize("words", EVERY)
def test_every_command_says_what_it_does(words: str) -> None:
    assert EVERY[words].help


def test_the_overview_lists_every_command_with_its_meaning() -> None:
    result = CliRunner().invoke(parallax, ["--help"])
    assert result.exit_code == 0
    for name, (_, meaning) in COMMANDS.items():
        assert name in result.output
        assert meaning.split()[0] in result.output


def test_the_table_is_in_the_order_shown() -> None:
    assert isinstance(parallax, LazyGroup)
    assert parallax.list_commands(click.Context(parallax)) == list(COMMANDS)


def test_help_ends_with_0_and_says_nothing_on_stderr(run: Run) -> None:
    answer = run("submit", "--help")
    assert (answer.code, answer.err) == (0, "")


def test_the_version_option(run: Run) -> None:
    answer = run("--version")
    assert (answer.code, answer.out) == (0, f"parallax, version {__version__}\n")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["import only", "--help"])
def test_the_overview_imports_no_package_it_does_not_need(arguments: list[str]) -> None:
    heavy = ("redis", "numpy", "msgspec", "rich", "prometheus_client")
    code = (
        "import sys, contextlib\n"
        "from parallax.cli.main import parallax\n"
        "if sys.argv[1:]:\n"
        "    with contextlib.suppress(SystemExit): parallax(sys.argv[1:])\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=True, timeout=30, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == "[]\n"


@pytest.mark.dear
def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parallax", "no-such-command"],
        capture_output=True, text=True, check=False, timeout=30, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no-such-command" in done.stderr
