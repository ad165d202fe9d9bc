"""Gaps between arrivals: how a load comes in."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from parallax.core.model import check_number


def poisson(rate: float, random: Random) -> Iterator[float]:
    """Yield gaps in seconds of a Poisson process of `rate` per second, for ever."""
    check_number("rate", rate, 1e-6, 1e6)
    while True:
        yield random.expovariate(rate)


def gamma(rate: float, cv: float, random: Random) -> Iterator[float]:
    """Yield gamma-distributed gaps in seconds: mean 1 / rate, coefficient of variation `cv`.

    `cv` > 1 comes in bursts, `cv` < 1 is more regular than Poisson; at 1 it is Poisson.
    """
    check_number("rate", rate, 1e-6, 1e6)
    check_number("cv", cv, 0.01, 100.0)
    shape = 1.0 / (cv * cv)
    while True:
        yield random.gammavariate(shape, 1.0 / (rate * shape))
