"""Options of the workers that a command starts: checked here, before any process is started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from parallax.broker.server.embedded import DURABILITIES
from parallax.cli.names import Number, ProfileName
from parallax.consumers.engines.registry import ENGINES
from parallax.core.errors import InvalidInput
from parallax.sim.calibration.profiles import known_profile

F = TypeVar("F", bound=Callable[..., Any])

ENGINE = click.Choice(list(ENGINES))
#: What each engine does, for --help.
ENGINES_HELP = "; ".join(
    f"{name}: {(what := ENGINES.summary(name))[:1].lower()}{what[1:]}" for name in ENGINES
)
PROFILE = ProfileName()
SPEED = Number(0.001, 10_000.0)
#: The engine that stands for a server; `--backend` chooses it.
SERVER = "openai"
PORT = click.IntRange(1, 65_535)


def engine_options(engine: str, profile: str) -> Callable[[F], F]:
    """Add `--engine`, `--profile`, `--engine-speed` and `--durability`, with these defaults."""

    def add(command: F) -> F:
        for option in (
            click.option("--durability", type=click.Choice(DURABILITIES), default="everysec",
                         show_default=True, help="Of the server started here: how soon a write is "
                         "on its disk."),
            click.option("--engine-speed", type=SPEED, default=1.0, show_default=True,
                         help="How many times faster than the profile the engines are."),
            click.option("--profile", type=PROFILE, default=profile, show_default=True,
                         help="Model and hardware that the engines started here imitate, or a "
                         "file of `parallax calibrate`."),
            click.option("--engine", type=ENGINE, default=engine, show_default=True,
                         help=f"Engine of the workers started here ({ENGINES_HELP})."),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


def engine_arguments(engine: str, profile: str, speed: float) -> tuple[str, ...]:
    """Return the arguments that make a worker process use this engine; raises InvalidInput."""
    if engine == SERVER:
        told = "it stands for a server: parallax up --backend http://HOST:PORT/v1"
        raise InvalidInput("--engine", engine, told)
    known_profile("--profile", profile)
    return ("--engine", engine, "--profile", profile, "--speed", str(speed))
