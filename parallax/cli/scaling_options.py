"""The options that say how a cell is scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from parallax.cli.names import Number, PolicyName
from parallax.cli.options import parsed_choice
from parallax.core.errors import InvalidInput
from parallax.core.settings import PolicyChoice
from parallax.scheduling.autoscaler import Bounds
from parallax.services.autoscaler import ScalingSettings

F = TypeVar("F", bound=Callable[..., Any])

POLICY = "backlog_slo"
_MOST = 1_000
_DEFAULTS = ScalingSettings()


def scaling_options(command: F) -> F:
    """Add `--scaling`, `--set`, `--every`, `--cooldown` and `--dry-run`."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Decide and say why, and change nothing."),
        click.option("--cooldown", "cooldown_s", type=Number(0.0, 86_400.0), default=30.0,
                     show_default=True, help="Seconds after a change before one the other way."),
        click.option("--every", "every_s", type=Number(0.1, 3_600.0), default=_DEFAULTS.every_s,
                     show_default=True, help="Seconds between two decisions."),
        click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE",
                     help="Set a parameter of the policy: slo_s=1, target=0.7; may be repeated."),
        click.option("--scaling", "policy", type=PolicyName("scaling"), default=POLICY,
                     show_default=True, metavar="NAME[:KEY=VALUE]",
                     help="Scaling policy: how many workers."),
    ):  # fmt: skip
        command = option(command)
    return command


def settings_from(
    policy: str, parameters: Sequence[str], bounds: tuple[int, int], every_s: float,
    cooldown_s: float, dry_run: bool,
) -> ScalingSettings:  # fmt: skip
    """Return the settings; raises InvalidInput or UnknownPolicy before anything is started."""
    choice = parsed_choice("policy", policy)
    given = dict(choice.parameters)
    for text in parameters:
        key, equals, value = text.removeprefix("scaling.").partition("=")
        if not equals:
            raise InvalidInput("--set", text, "write KEY=VALUE with a parameter of the policy")
        given[key] = value
    fewest, most = bounds
    return ScalingSettings(
        PolicyChoice(choice.name, given), Bounds(fewest, most, cooldown_s), every_s, dry_run
    )


def parsed_bounds(option: str, text: str) -> tuple[int, int]:
    """Read `MIN:MAX`; raises InvalidInput."""
    low, colon, high = text.partition(":")
    allowed = f"MIN:MAX, two whole numbers from 0 to {_MOST}, the first no more than the second"
    if not colon or not (low.isdecimal() and high.isdecimal()) or len(low + high) > len("10001000"):
        raise InvalidInput(option, text, allowed)
    fewest, most = int(low), int(high)
    if not fewest <= most <= _MOST or most < 1:
        raise InvalidInput(option, text, allowed)
    return fewest, most
