"""Options that several commands share, and how a command finds its Redis."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from parallax.cli.names import PolicyName
from parallax.core.errors import InvalidInput, Unreachable
from parallax.core.secrets import has_password
from parallax.core.settings import Policies, PolicyChoice
from parallax.telemetry.objectives import Objectives

F = TypeVar("F", bound=Callable[..., Any])

HOME_VARIABLE = "PARALLAX_HOME"
FILE_VARIABLE = "PARALLAX_REDIS_FILE"
KINDS = (
    "admission", "fairness", "ordering", "gate", "routing", "predictor", "hedging", "stealing",
)  # fmt: skip


_MEANINGS = {
    "stealing": "Stealing policy: who takes whose work.",
    "hedging": "Hedging policy: when to try elsewhere.",
    "predictor": "Predictor of output lengths.",
    "gate": "Dispatch gate: when a worker may get more.",
    "admission": "Admission policy: which jobs may wait.",
    "ordering": "Ordering policy: which job of a tenant is next.",
    "fairness": "Fairness policy: which tenant is next.",
    "routing": "Routing policy: which worker gets a job.",
}
_OBJECTIVES = {
    "e2e": "a job that ends within so many seconds",
    "tpot": "an answer with so many seconds for each token after the first",
    "ttft": "a first token within so many seconds",
}


def _home_option(command: F) -> F:
    return click.option(
        "--home", envvar=HOME_VARIABLE, type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the embedded server's data [default: the user's data directory].",
    )(command)  # fmt: skip


def _redis_option(command: F) -> F:
    return click.option(
        "--redis", envvar="PARALLAX_REDIS", metavar="URL", callback=_url,
        help="Redis >= 6.2: redis://, rediss:// or unix:// URL [default: the one in the file "
        f"that {FILE_VARIABLE} names, or the embedded one].",
    )(command)  # fmt: skip


def server_options(command: F) -> F:
    """Add `--redis` and `--home`, for what belongs to no cell."""
    return _redis_option(_home_option(command))


def redis_options(command: F) -> F:
    """Add `--redis`, `--cell` and `--home`."""
    cell = click.option(
        "--cell", envvar="PARALLAX_CELL", default="main", show_default=True,
        help="Name of the cell: one scheduler, its tenants and workers.",
    )  # fmt: skip
    return _redis_option(cell(_home_option(command)))


def _url(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    """Take the URL from a file if none was given in a stronger place; warn of a password.

    A file that the environment names beats parallax.toml, as all of the environment does.
    """
    warn_of_password(context, parameter, url, f"PARALLAX_REDIS, or name a file in {FILE_VARIABLE}")
    weak = context.get_parameter_source(parameter.name or "") is ParameterSource.DEFAULT_MAP
    if not os.environ.get(FILE_VARIABLE) or (url and not weak):
        return url
    from parallax.producers.client.address import url_in_file

    return url_in_file()


def warn_of_password(
    context: click.Context, parameter: click.Parameter, text: str | None, instead: str
) -> None:
    """Warn of a password among the arguments, and say what to set instead."""
    source = context.get_parameter_source(parameter.name or "")
    if text and source is ParameterSource.COMMANDLINE and has_password(text):
        told = f"others can read it; set {instead}"
        click.echo(f"parallax: a password stands among the arguments: {told}", err=True)


def policy_options(command: F) -> F:
    """Add an option for each kind of policy, and `--set`."""
    for option in (
        click.option(
            "--set", "parameters", multiple=True, metavar="[KIND.]KEY=VALUE",
            help="Set a parameter of a policy (of the routing policy, if no kind is named).",
        ),
        *(
            click.option(f"--{kind}", type=PolicyName(kind), metavar="NAME", help=meaning)
            for kind, meaning in _MEANINGS.items()
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def metrics_host_option(command: F) -> F:
    """Add `--metrics-host`."""
    return click.option(
        "--metrics-host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
        help="Address that /metrics and /healthz listen on: 0.0.0.0 or :: is all of them.",
    )(command)  # fmt: skip


def slo_options(command: F) -> F:
    """Add `--slo-ttft`, `--slo-tpot` and `--slo-e2e`."""
    usual = Objectives().by_name()
    for name, meaning in _OBJECTIVES.items():
        command = click.option(
            f"--slo-{name}", f"slo_{name}", type=float, default=usual[name], show_default=True,
            help=f"Metrics: {meaning} counts as in time.",
        )(command)  # fmt: skip
    return command


def objectives_from(options: dict[str, Any]) -> Objectives:
    """Take the objectives out of a command's options and check them."""
    return Objectives(**{f"{name}_s": options.pop(f"slo_{name}") for name in _OBJECTIVES})


def objective_arguments(objectives: Objectives) -> list[str]:
    """Return the arguments that make another process judge by these objectives."""
    seconds = objectives.by_name().items()
    return [word for name, value in seconds for word in (f"--slo-{name}", str(value))]


def policies_from(options: dict[str, Any]) -> Policies:
    """Take the policy options out of a command's options and check them."""
    parameters: dict[str, dict[str, object]] = {kind: {} for kind in KINDS}
    for text in options.pop("parameters"):
        path, equals, value = text.partition("=")
        kind, dot, key = path.partition(".")
        if not dot:
            kind, key = "routing", path
        if not equals or kind not in parameters:
            allowed = f"write KEY=VALUE or KIND.KEY=VALUE with KIND one of {', '.join(KINDS)}"
            raise InvalidInput("--set", text, allowed)
        parameters[kind][key] = value
    defaults = Policies()
    chosen = {}
    for kind in KINDS:
        text = options.pop(kind)
        choice = parsed_choice(kind, text) if text else getattr(defaults, kind)
        chosen[kind] = PolicyChoice(choice.name, {**choice.parameters, **parameters[kind]})
    policies = Policies(**chosen)
    from parallax.scheduling.scheduler import build_scheduler

    build_scheduler(policies, 0)  # a wrong name or parameter is refused now, not in a process
    return policies


def policy_arguments(policies: Policies) -> list[str]:
    """Return the arguments that make another process use these policies."""
    arguments = []
    for kind in KINDS:
        choice = getattr(policies, kind)
        arguments += [f"--{kind}", choice.name]
        for key, value in choice.parameters.items():
            arguments += ["--set", f"{kind}.{key}={value}"]
    return arguments


def parsed_choice(kind: str, text: str) -> PolicyChoice:
    """Read `power_of_two:choices=3`."""
    name, *settings = text.split(":")
    parameters: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InvalidInput(f"--{kind}", text, "write NAME or NAME:KEY=VALUE:KEY=VALUE")
        parameters[key] = value
    return PolicyChoice(name, parameters)


def found_url(redis: str | None, home: Path | None) -> str | None:
    """Return the URL that was given, or that of the embedded server that runs now."""
    if redis:
        return redis
    from parallax.broker.server.embedded import running_server

    server = running_server(home)
    return server.url if server else None


def server_url(redis: str | None, home: Path | None) -> str:
    """Like `found_url`; raises Unreachable, saying what to do, when there is none."""
    url = found_url(redis, home)
    if url is None:
        raise Unreachable(
            "no Redis: none was named and no embedded server runs; "
            "start one with `parallax up`, or name one with --redis URL"
        )
    return url


def start_logging(verbose: bool = False) -> None:
    """Log to stderr: short lines on a terminal, JSON lines elsewhere."""
    import sys

    from parallax.telemetry.logs import configure

    level = logging.DEBUG if verbose else logging.INFO
    configure(level, sys.stderr, json=not sys.stderr.isatty())
