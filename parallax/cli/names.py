"""Types of options and arguments: names that a shell can complete, and numbers with bounds."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import click
from click.shell_completion import CompletionItem


class PolicyName(click.ParamType[str]):
    """The name of a policy, of one kind or of any; perhaps with `:KEY=VALUE` behind it.

    What it says is checked where it is used; here it is completed, also after a comma.
    """

    name = "policy"

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so."""
        from parallax.policies.registry import REGISTRIES

        kind = "routing" if self.kind == "candidate" else self.kind
        names = {name for one in REGISTRIES if kind in (None, one.kind) for name in one}
        before, comma, begun = incomplete.rpartition(",")
        return _beginning(names, begun, before + comma)


class WorkloadName(click.ParamType[str]):
    """A load: the name of one that comes with the package, or a file."""

    name = "workload"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the loads that begin so, and let the shell look for files."""
        from parallax.sim.workloads.spec import names

        return [*_beginning(names(), incomplete), CompletionItem(incomplete, type="file")]


class ProfileName(click.ParamType[str]):
    """What engines are like: the name of a profile that comes with the package, or a file."""

    name = "profile"

    def __init__(self, several: bool = False) -> None:
        self.several = several  # with commas between them

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return what was given; unknown names are refused, files are read where they are used."""
        from parallax.engine.profiles import PROFILES
        from parallax.sim.calibration.profiles import ENDINGS

        for one in map(str.strip, str(value).split(",") if self.several else [str(value)]):
            if one not in PROFILES and not one.endswith(ENDINGS):
                names = ", ".join(map(repr, PROFILES))
                end = "nor a file (.toml, .json) of `parallax calibrate`."
                self.fail(f"{one!r} is not one of {names}, {end}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the profiles that begin so, and let the shell look for files."""
        from parallax.engine.profiles import PROFILES

        before, comma, begun = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        names = _beginning(PROFILES, begun, before + comma)
        return [*names, CompletionItem(incomplete, type="file")]


class FormatName(click.ParamType[str]):
    """The name of a trace format. The reader of the trace checks it; here it is completed."""

    name = "format"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the formats that begin so."""
        from parallax.sim.traces.registry import FORMATS

        return _beginning(FORMATS, incomplete)


class Number(click.FloatRange):
    """A finite number within bounds: neither NaN nor infinity is one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; a usage error names option, value and range."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def _beginning(names: Iterable[str], begun: str, before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in sorted(names) if name.startswith(begun)]
