"""Thresholds: what a run must reach, as people write it: `ttft_p95<300ms`, `goodput>=90%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parallax.core.errors import InvalidInput
from parallax.sim.report.figures import LATENCIES, NAMES, SHARES

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)"
_THRESHOLD = re.compile(
    rf"\s*([A-Za-z_0-9]+)\s*(<=|>=|<|>)\s*{_NUMBER}\s*([a-z%]*)\s*", re.ASCII | re.IGNORECASE
)
_DURATION = re.compile(rf"\s*{_NUMBER}\s*([a-z]*)\s*", re.ASCII | re.IGNORECASE)
_SHAPE = "write NAME<NUMBER, with <, <=, > or >= and a unit where one is due: ttft_p95<300ms"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure, a comparison and a limit in the figure's own unit."""

    text: str
    figure: str
    comparison: str
    limit: float

    def met(self, figures: Mapping[str, float | int | None]) -> bool:
        """Whether a run reached it. A figure that was not measured reaches nothing."""
        value = figures.get(self.figure)
        return value is not None and _COMPARE[self.comparison](value, self.limit)

    def verdict(self, figures: Mapping[str, float | int | None]) -> str:
        """Say in one line the floor, the measured value, and whether it is enough."""
        value = figures.get(self.figure)
        said = "not measured" if value is None else f"{value:.6g}"
        return f"{'met' if self.met(figures) else 'MISSED'}: {self.text} ({self.figure} = {said})"


def parse(text: str) -> Threshold:
    """Read a threshold. Raises InvalidInput, listing the known figures or units."""
    found = _THRESHOLD.fullmatch(text)
    if found is None:
        raise InvalidInput("threshold", text, _SHAPE)
    name, comparison, number, unit = found.groups()
    figure = _figure(text, name)
    return Threshold(text.strip(), figure, comparison, _limit(text, figure, name, number, unit))


def seconds(where: str, text: str) -> float:
    """Read a duration with its unit, `300ms`, as seconds. Raises InvalidInput."""
    found = _DURATION.fullmatch(text)
    unit = found[2].lower() if found else ""
    if found is None or unit not in SECONDS:
        raise InvalidInput(where, text, f"a number and one of the units {', '.join(SECONDS)}")
    return float(found[1]) * SECONDS[unit]


def _figure(text: str, name: str) -> str:
    """Return the figure's full name: `ttft_p95` is `ttft_ms_p95`."""
    if name in NAMES:
        return name
    measure, _, statistic = name.rpartition("_")
    full = f"{measure}_ms_{statistic}"
    if full not in NAMES:
        raise InvalidInput("threshold", text, f"known: {_known()}")
    return full


def _limit(text: str, figure: str, name: str, number: str, unit: str) -> float:
    """Return the limit in the unit of its figure."""
    value, unit = float(number), unit.lower()
    timed = figure.startswith(LATENCIES)
    if unit == "%" and figure in SHARES:
        return value / 100
    if unit in SECONDS and timed:
        return value * SECONDS[unit] * 1000
    if unit in SECONDS and figure == "duration_s":
        return value * SECONDS[unit]
    if not unit and (not timed or name == figure):  # `ttft_ms_p95` names its unit itself
        return value
    if timed or figure == "duration_s":
        allowed = f"{figure} needs one of the units {', '.join(SECONDS)}"
    else:
        allowed = f"{figure} is a {'share: a number or %' if figure in SHARES else 'bare number'}"
    raise InvalidInput("threshold", text, allowed)


def _known() -> str:
    """List the figures, briefly: a message is cut at 200 characters."""
    plain = [name for name in NAMES if not name.startswith(LATENCIES)]
    measures = "|".join(name.removesuffix("_ms") for name in LATENCIES)
    return ", ".join([f"{measures}_mean|p50|p90|p95|p99", *plain])
