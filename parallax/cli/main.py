"""The command `parallax`: a lazy table of commands, so that `--help` imports nothing it need not.

Exit codes: 0 ok, 1 failed, 2 wrong usage or input, 3 a threshold was missed, 4 cannot reach Redis.
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from parallax import __version__
from parallax.core.errors import InvalidInput, InvalidSettings, ParallaxError, Unreachable

EXIT_FAILED, EXIT_USAGE, EXIT_MISSED, EXIT_UNREACHABLE = 1, 2, 3, 4

#: command -> (where it is, what `--help` says of it)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("parallax.cli.demo:demo", "Show the whole system at work, and prove its promises."),
    "up": ("parallax.cli.up:up", "Run Redis, schedulers and workers on this machine."),
    "scheduler": ("parallax.cli.scheduler:scheduler", "Run one scheduler (leader or standby)."),
    "worker": ("consumers.cli:worker", "Run one worker with its engine."),
    "submit": ("producers.cli:submit", "Submit jobs."),
    "status": ("parallax.cli.inspection:status", "Show queues, workers and totals."),
    "get": ("parallax.cli.inspection:get", "Show the record of a job."),
    "cancel": ("producers.cli:cancel", "Cancel jobs."),
    "loadgen": ("producers.cli:loadgen", "Offer an open-loop load, and report what came of it."),
    "replay": ("producers.cli:replay", "Replay a recorded trace in real time."),
    "tenants": ("parallax.cli.inspection:tenants", "List tenants, set their weights."),
    "workers": ("parallax.cli.inspection:workers", "List workers."),
    "policy": ("parallax.cli.policy:policy", "List policies and their parameters."),
    "doctor": ("parallax.cli.doctor:doctor", "Check the installation and the server."),
    "version": ("parallax.cli.doctor:version", "Show versions."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _configured(ctx: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Use the settings file for defaults: below flags and environment, above built-in defaults."""
    found = path or Path("parallax.toml")
    if path is None and not found.exists():
        return None
    try:
        values = tomllib.loads(found.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(str(found), str(error), "must be a readable TOML file") from None
    _check_keys(found, values)
    ctx.default_map = {
        name: {key.replace("-", "_"): value for key, value in table.items()}
        for name, table in values.items()
        if isinstance(table, dict)
    }
    shared = {key.replace("-", "_"): v for key, v in values.items() if not isinstance(v, dict)}
    for name in COMMANDS:
        ctx.default_map[name] = {**shared, **ctx.default_map.get(name, {})}
    return found


#: Settings that may stand above the tables of the settings file: they hold for every command.
SHARED = ("redis", "cell", "home")


def _check_keys(path: Path, values: dict[str, Any]) -> None:
    """Refuse what nobody would read."""
    for key, value in values.items():
        if not isinstance(value, dict):
            if key not in SHARED:
                raise InvalidSettings(str(path), key, f"known: {', '.join(SHARED)} and tables")
            continue
        if key not in COMMANDS:
            raise InvalidSettings(str(path), key, f"known tables: {', '.join(COMMANDS)}")
        command = LazyGroup().get_command(click.Context(click.Command(key)), key)
        known = [p.name for p in command.params if p.name] if command else []
        for option in value:
            if option.replace("-", "_") not in known:
                raise InvalidSettings(f"{path} [{key}]", option, f"known: {', '.join(known)}")


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "PARALLAX"})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_configured,
    help="Settings file [default: parallax.toml, if there is one].",
)
@click.version_option(__version__, prog_name="parallax")
def parallax() -> None:
    """Parallax: a durable, fair queue and scheduler in front of LLM engines."""


def main() -> None:
    """Run the command line; every known error becomes one clear message and an exit code."""
    if os.environ.get("PARALLAX_PARENT") and os.getppid() == 1:
        sys.exit(EXIT_FAILED)  # the parent died before we could ask to die with it
    try:
        parallax(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except InvalidInput as error:
        _fail(error, EXIT_USAGE)
    except Unreachable as error:
        _fail(error, EXIT_UNREACHABLE)
    except ParallaxError as error:
        _fail(error, EXIT_FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe left: not our fault, nothing to say
        sys.exit(EXIT_FAILED)


def _fail(error: ParallaxError, code: int) -> None:
    click.echo(f"parallax: {error}", err=True)
    sys.exit(code)
