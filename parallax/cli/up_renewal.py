"""`parallax up --reload`: new processes for a system that runs, without a pause."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

from parallax.broker.server.home import ask_for_renewal
from parallax.cli.output import say
from parallax.cli.where import Where
from parallax.core.errors import InvalidInput
from parallax.services.system import System

F = TypeVar("F", bound=Callable[..., Any])


def reload_option(command: F) -> F:
    """Add `--reload`, which asks the system that runs already and starts nothing."""

    @functools.wraps(command)
    def told(where: Where, reload: bool, **options: Any) -> None:
        if reload:
            _ask(where)
        else:
            command(where=where, **options)

    option = click.option(
        "--reload", is_flag=True, help="Start nothing: ask the `up` that runs here to replace its "
        "processes one by one, so that a new release comes without a pause. Its log tells.",
    )  # fmt: skip
    return cast(F, option(told))


def renew_if_asked(systems: Sequence[System]) -> None:
    """Let all systems replace their processes if the owner of their server was asked to."""
    if sum(system.renewal_asked() for system in systems):
        for system in systems:
            system.renew()


def _ask(where: Where) -> None:
    if where.redis is not None:
        allowed = "an `up` with a server of its own: restart the processes one by one"
        raise InvalidInput("--reload", "with --redis", allowed)
    say(f"asked: the processes of {ask_for_renewal(where.home)} are replaced one by one")
