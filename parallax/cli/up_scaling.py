"""`parallax up --autoscale MIN:MAX`: as many workers as the load needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from parallax.cli.scaling_options import POLICY, parsed_bounds, settings_from
from parallax.cli.scheduler import candidate
from parallax.core.errors import InvalidInput
from parallax.services.autoscaler import ScalingSettings
from parallax.services.clock import SystemClock
from parallax.services.scaled import Scaled
from parallax.services.system import System

F = TypeVar("F", bound=Callable[..., Any])

_EVERY_S, _COOLDOWN_S = 2.0, 30.0
#: What a policy is told here: these processes start within seconds.
_STARTUP = ("startup_s=5", "stable_s=60")


def autoscale_options(command: F) -> F:
    """Add `--autoscale` and `--scaling`."""
    for option in (
        click.option("--scaling", multiple=True, metavar="NAME or KEY=VALUE",
                     help="Scaling policy of --autoscale, and its parameters; may be repeated "
                     f"[default: {POLICY}, {', '.join(_STARTUP)}]."),
        click.option("--autoscale", metavar="MIN:MAX", help="Start and drain workers as the load "
                     "of each cell needs, so many at the least and at the most (see `parallax "
                     "autoscaler`); begins with MIN unless --workers says otherwise."),
    ):  # fmt: skip
        command = option(command)
    return command


def scaling_from(autoscale: str | None, scaling: Sequence[str]) -> ScalingSettings | None:
    """Return how the cells are scaled; None if they are not. Raises InvalidInput."""
    if autoscale is None:
        if scaling:
            raise InvalidInput("--scaling", scaling[0], "with --autoscale MIN:MAX")
        return None
    if click.get_current_context().params.get("backends"):
        raise InvalidInput("--autoscale", "with --backend", "either --autoscale or --backend")
    names = [text for text in scaling if "=" not in text]
    if len(names) > 1:
        raise InvalidInput("--scaling", ", ".join(names), "one policy")
    policy = names[0] if names else POLICY
    given = [text for text in scaling if "=" in text]
    usual = _STARTUP if policy == POLICY else ()
    bounds = parsed_bounds("--autoscale", autoscale)
    return settings_from(policy, [*usual, *given], bounds, _EVERY_S, _COOLDOWN_S, dry_run=False)


def first_and_most(scaled: ScalingSettings | None, workers: int) -> tuple[int, int]:
    """Return with how many workers a cell begins, and how many it may have."""
    if scaled is None:
        return workers, workers
    bounds = scaled.bounds
    source = click.get_current_context().get_parameter_source("workers")
    first = bounds.fewest if source is ParameterSource.DEFAULT else workers
    return max(bounds.fewest, min(bounds.most, first)), bounds.most


@contextmanager
def scaling_of(
    systems: Sequence[System], scaled: ScalingSettings | None
) -> Iterator[Callable[[], None]]:
    """Return the function whose repeated calls scale these systems."""
    if scaled is None:
        yield lambda: None
        return
    scaling = Scaled(systems, scaled, SystemClock(), candidate())
    try:
        yield scaling.turn
    finally:
        scaling.close()
