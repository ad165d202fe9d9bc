"""The command `parallax`: a lazy table of commands, so that `--help` imports nothing it need not.

Exit codes: 0 ok, 1 failed, 2 wrong usage or input, 3 a threshold was missed, 4 cannot reach Redis,
or may not (a wrong password, a port of something else); 128 and the number of the signal that ended
it early (130: Ctrl-C).
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from parallax import __version__
from parallax.cli import configuration, streams
from parallax.cli.output import printable
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable, Unusable
from parallax.core.secrets import redacted
from parallax.core.suggest import meant
from parallax.services.orders import Interrupted

EXIT_FAILED, EXIT_USAGE, EXIT_MISSED, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

#: heading of `--help` -> command -> (where it is, what `--help` says of it), in the order shown.
PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin": {
        "demo": (
            "parallax.cli.demo:demo",
            "Show the whole system at work, and prove its promises.",
        ),
        "up": ("parallax.cli.up:up", "Run Redis, schedulers and workers on this machine."),
        "doctor": ("parallax.cli.doctor:doctor", "Check the installation and the server."),
        "url": ("parallax.cli.url:url", "Print the address of the server in use."),
        "version": ("parallax.cli.doctor:version", "Show versions."),
    },
    "Jobs": {
        "submit": ("parallax.producers.cli.jobs:submit", "Submit jobs."),
        "status": ("parallax.cli.inspection:status", "Show queues, workers and totals."),
        "get": ("parallax.cli.inspection:get", "Show the record of a job."),
        "cancel": ("parallax.producers.cli.jobs:cancel", "Cancel jobs."),
    },
    "A running cell": {
        "scheduler": ("parallax.cli.scheduler:scheduler", "Run one scheduler (leader or standby)."),
        "worker": ("parallax.consumers.cli:worker", "Run one worker with its engine."),
        "autoscaler": (
            "parallax.cli.autoscaler:autoscaler",
            "Start workers when they are needed, and let them go.",
        ),
        "gateway": ("parallax.producers.cli.gateway:gateway", "Serve the OpenAI API over HTTP."),
        "exporter": (
            "parallax.cli.exporter:exporter",
            "Serve metrics of a whole cell to Prometheus.",
        ),
        "keys": ("parallax.cli.keys:keys", "Make, list, revoke and rotate API keys."),
        "top": ("parallax.cli.top:top", "Watch workers, tenants, rates and percentiles."),
        "dashboard": ("parallax.dashboard.cli:dashboard", "Serve the web dashboard of a cell."),
        "workers": ("parallax.cli.inspection:workers", "List workers."),
        "models": ("parallax.cli.models:models", "List models, and who serves them."),
        "backend": (
            "parallax.cli.backend:backend",
            "List servers in use; look at one, drain one.",
        ),
        "tenants": ("parallax.cli.inspection:tenants", "List tenants, set their weights."),
        "policy": ("parallax.cli.policy:policy", "List policies; change those of a running cell."),
        "canary": (
            "parallax.cli.canary:canary",
            "Try a routing policy on a share of the sessions.",
        ),
        "dead": ("parallax.cli.dead:dead", "Look at dead letters, offer them again, remove them."),
        "cells": ("parallax.cli.cells:cells", "List cells, and where tenants live."),
        "acl": ("parallax.cli.access:acl", "Write users for Redis, one for each role."),
    },
    "Live loads": {
        "loadgen": (
            "parallax.producers.cli.load:loadgen",
            "Offer an open-loop load; report on it.",
        ),
        "replay": ("parallax.producers.cli.load:replay", "Replay a recorded trace in real time."),
        "record": (
            "parallax.cli.record:record",
            "Keep what the leader decides; do it again offline.",
        ),
        "explain": ("parallax.cli.record:explain", "Show why a job went where it went."),
    },
    "Laboratory": {
        "simulate": ("parallax.cli.simulate:simulate", "Simulate one run in virtual time."),
        "compare": (
            "parallax.cli.compare:compare",
            "Simulate policies, loads and seeds side by side.",
        ),
        "advise": (
            "parallax.cli.advise:advise",
            "Say which policies and how many workers a load needs.",
        ),
        "lab": ("parallax.cli.lab:lab", "Simulate for others, on any number of machines."),
        "calibrate": (
            "parallax.cli.calibrate:calibrate",
            "Measure a running engine; write a profile that simulations use.",
        ),
        "report": ("parallax.cli.report:report", "Write a report on simulated runs."),
        "trace": ("parallax.cli.trace:trace", "Look at traces, convert them, take samples."),
        "experiment": ("parallax.cli.experiment:experiment", "Ask the policies what theory says."),
    },
    "Evidence": {
        "verify": ("parallax.drills.cli:verify", "Break things on purpose; check every promise."),
        "bench": ("parallax.lab.cli:bench", "Measure: the simulator against the live system."),
        "validate": ("parallax.cli.validate:validate", "Hold simulations against measurements."),
    },
}
#: Every command, whatever its heading.
COMMANDS = {name: row for rows in PANELS.values() for name, row in rows.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        command = _load(name)
        settings = ctx.meta.get(_SETTINGS)
        if settings is not None:
            common, table = configuration.shared(settings), configuration.table(settings, name)
            ctx.default_map = {name: configuration.defaults(command, table, common, name)}
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a misspelt one the error names the probable one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            question = meant(args[0], COMMANDS)
            known = f"{question[:1].upper()}{question[1:]}"
            ctx.fail(f"No such command {args[0]!r}. {known}".rstrip())
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands from the table, importing none of them."""
        items = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the arguments; `--help` may be too long for its reader."""
        with streams.reader_noticed():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its reader may close our output early."""
        with streams.reader_noticed():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in panels without importing them."""
        widest = max(map(len, COMMANDS))
        for heading, names in PANELS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), COMMANDS[name][1]) for name in names])


def _configured(ctx: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Remember the settings file; each command takes its own from it when it is called."""
    found = path or Path("parallax.toml")
    if path is None and not found.exists():
        return None
    settings = configuration.read(found)
    configuration.check(found, settings, COMMANDS, _load)
    ctx.meta[_SETTINGS] = settings
    return found


_SETTINGS = "parallax.settings"


def _load(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    configuration.name_variables(command, f"PARALLAX_{name.upper()}")
    return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Completion: eval "$(_PARALLAX_COMPLETE=bash_source parallax)" (or zsh_source, '
    "fish_source).",
)
@click.option(
    "--config",
    envvar="PARALLAX_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_configured,
    help="Settings file [default: parallax.toml, if there is one].",
)
@click.version_option(__version__, "--version", "_version", prog_name="parallax")
def parallax() -> None:
    """Parallax: a durable, fair queue and scheduler in front of LLM engines."""


def main() -> None:
    """Run the command line; every known error becomes one clear message and an exit code."""
    streams.prepare()
    try:
        _run()
    except (streams.ReaderLeft, BrokenPipeError):
        streams.abandon()  # it has seen enough: nobody's fault, nothing to say
    except OSError as error:
        _fail_to_write(error)


def _run() -> None:
    try:
        parallax(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except Interrupted as order:
        sys.exit(order.code)
    except InvalidInput as error:
        _fail(error, EXIT_USAGE)
    except Unreachable as error:
        _fail(error, EXIT_UNREACHABLE, _NEXT)
    except Unusable as error:
        _fail(error, EXIT_UNREACHABLE)
    except ParallaxError as error:
        _fail(error, EXIT_FAILED)


#: What to type when Redis cannot be reached.
_NEXT = "; `parallax doctor` looks closer, `parallax up` starts a server, --redis URL names one"


def _fail(error: ParallaxError, code: int, hint: str = "") -> None:
    told = "" if "`parallax" in str(error) else hint
    click.echo(f"parallax: {redacted(printable(str(error)))}{told}", err=True)
    sys.exit(code)


def _fail_to_write(error: OSError) -> NoReturn:
    """Say which file could not be used: standard output, if it is that one."""
    streams.abandon()
    what = "" if error.filename is None else repr(error.filename)
    if not what and error.errno in streams.UNWRITABLE:
        what = "standard output"
    told = f"{what} cannot be used: {error.strerror}" if what else str(error)
    with suppress(OSError):
        click.echo(f"parallax: {printable(told)}", err=True)
    sys.exit(EXIT_FAILED)
