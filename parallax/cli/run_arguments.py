"""Faults and settings of policies as people write them on a command line."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies
from parallax.sim.report.thresholds import seconds
from parallax.sim.spec import FaultSpec

#: The kinds of policies of a run.
KINDS = tuple(field.name for field in dataclasses.fields(Policies))
_FAULT = re.compile(r"(\w+):w(\d+)(?:\*([\d.]+))?@([^+]+)(?:\+(.+))?", re.ASCII)
#: Worded so that what hides passwords in messages (`user:password@`) does not hide it.
_FAULT_SHAPE = "KIND:WORKER, perhaps *FACTOR, then @WHEN, perhaps +HOWLONG; `--help` has examples"


def parsed_fault(text: str) -> FaultSpec:
    """Read `crash:w3@60s+30s`: what, whom (and how much slower), when, and for how long."""
    found = _FAULT.fullmatch(text)
    if found is None:
        raise InvalidInput("--fault", text, _FAULT_SHAPE)
    kind, number, factor, when, how_long = found.groups()
    values: dict[str, Any] = {}
    if how_long is not None:
        values["seconds"] = seconds("--fault", how_long)
    if factor is not None:
        try:
            values["factor"] = float(factor)
        except ValueError:
            raise InvalidInput("--fault", text, _FAULT_SHAPE) from None
    return FaultSpec(kind, f"w{int(number):04d}", seconds("--fault", when), **values)


def parsed_setting(text: str) -> tuple[str, str, str]:
    """Read `routing.choices=3` as kind, key and value; without a kind it is one of routing."""
    path, equals, value = text.partition("=")
    kind, dot, key = path.partition(".")
    if not dot:
        kind, key = "routing", path
    if not equals or not key or kind not in KINDS:
        allowed = f"write KEY=VALUE or KIND.KEY=VALUE with KIND one of {', '.join(KINDS)}"
        raise InvalidInput("--set", text, allowed)
    return kind, key, value
