"""`--durability replicated`: who submits is told whether replicas hold what was accepted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from parallax.cli.output import say

F = TypeVar("F", bound=Callable[..., Any])

PRIMARY, REPLICATED = "primary", "replicated"
CONFIRMED, UNCONFIRMED = "confirmed", "unconfirmed"


def durability_options(command: F) -> F:
    """Add `--durability` and `--replicas`; the command gets `replicas`, 0 where nobody asks."""

    @functools.wraps(command)
    def told(durability: str, replicas: int, **options: Any) -> Any:
        return command(replicas=replicas if durability == REPLICATED else 0, **options)

    click.option("--replicas", type=click.IntRange(1, 10), default=1, show_default=True,
                 help="How many, with --durability replicated.")(told)  # fmt: skip
    click.option("--durability", type=click.Choice([PRIMARY, REPLICATED]), default=PRIMARY,
                 show_default=True, help="With `replicated` it is said whether replicas of Redis "
                 "hold the job, too: what is not may be lost with its server.")(told)  # fmt: skip
    return cast("F", told)


def word(confirmed: bool | None) -> dict[str, str]:
    """Return what a line of JSON says of it; nothing where nobody asked."""
    return {} if confirmed is None else {"durability": CONFIRMED if confirmed else UNCONFIRMED}


def warn(job_id: str) -> None:
    """Say on standard error that a job is accepted, and not confirmed."""
    say(
        f"parallax: {job_id} is accepted and unconfirmed: too few replicas hold it, and it may be "
        "lost with its server; the same id, submitted again, is confirmed or not anew",
        err=True,
    )
