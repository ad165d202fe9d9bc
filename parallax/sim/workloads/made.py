"""Made-up loads: when jobs come, and their making. See `spec` for what can be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import pi, sin
from random import Random

from parallax.core.arrivals import gamma
from parallax.sim.timed import Timed
from parallax.sim.workloads import spec
from parallax.sim.workloads.shapes import conversations, grouped, singles, turns
from parallax.sim.workloads.spec import Made, Stage

names = spec.names
parsed = spec.parsed
_SHAPES = {"groups": grouped, "sessions": turns, "singles": singles}


def load(name: str, seed: int) -> Iterator[Timed]:
    """Yield the jobs of a spec file, or of a load that comes with the package."""
    return jobs(parsed(name), seed)


def jobs(made: Made, seed: int) -> Iterator[Timed]:
    """Yield the jobs in order of time; the same for the same seed. O(log groups) each."""
    random = Random(f"{seed}/workload")
    arrivals = _arrivals(made, random)
    if made.kind == "conversations":
        yield from conversations(made, random, arrivals)
        return
    body = _SHAPES[made.kind](made, random)
    for n, (at_s, group, stage) in enumerate(arrivals):
        yield at_s, body(n, group, stage)


def _arrivals(made: Made, random: Random) -> Iterator[tuple[float, int, Stage]]:
    """Yield times, the group that each falls to (by Zipf's law), and the stage."""
    weights = list(accumulate((n + 1) ** -made.zipf for n in range(made.groups)))
    for at_s, stage in _times(made, random):
        (group,) = random.choices(range(made.groups), cum_weights=weights)
        yield at_s, group, stage


def _times(made: Made, random: Random) -> Iterator[tuple[float, Stage]]:
    """Yield arrival times, thinned from the highest rate of each stage (Lewis & Shedler 1979)."""
    begin = 0.0
    for stage in made.stages:
        at, end = begin, begin + stage.seconds
        for gap in gamma(stage.rate * (1 + made.swing), made.cv, random):
            at += gap
            if at >= end:
                break
            share = 1 + made.swing * sin(2 * pi * at / made.period_s)
            if random.random() * (1 + made.swing) < share:
                yield at, stage
        begin = end
