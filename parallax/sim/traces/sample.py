"""A small part of a load that is still like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from random import Random

from parallax.core.model import check_int, check_number
from parallax.sim.timed import Timed
from parallax.sim.traces.threads import Threads


def window(jobs: Iterable[Timed], begin_s: float = 0.0, seconds: float = inf) -> Iterator[Timed]:
    """Yield the jobs that come within `seconds` from `begin_s`; time starts at `begin_s`."""
    check_number("begin", begin_s, 0.0, 1e9)
    if seconds != inf:
        check_number("seconds", seconds, 0.001, 1e9)
    for at_s, job in jobs:
        if at_s >= begin_s + seconds:
            return
        if at_s >= begin_s:
            yield at_s - begin_s, job


def thinned(jobs: Iterable[Timed], share: float, seed: int = 0) -> Iterator[Timed]:
    """Yield about `share` of the conversations, whole: what their turns share stays shared.

    The rate falls by the same share; a Poisson process stays one. The same for the same seed.
    """
    check_number("share", share, 1e-9, 1.0)
    check_int("seed", seed, 0, 2**63)
    threads = Threads()
    for at_s, job in jobs:
        if Random(f"{seed}/{threads.of(job)}").random() < share:
            yield at_s, job
