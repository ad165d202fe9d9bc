"""Loading what a run is asked to serve."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from parallax.core.errors import InvalidInput
from parallax.core.suggest import among
from parallax.sim.spec import WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.traces import catalog as traces
from parallax.sim.workloads import made


def load(spec: WorkloadSpec, seed: int) -> Iterator[Timed]:
    """Yield the jobs of a workload in order of time: a trace's, or those of a made-up load.

    A path that ends in `.toml`, or the name of a load that comes with the package, is made up; its
    jobs follow from `seed`. Raises InvalidInput, naming file and place.
    """
    path = Path(spec.path)
    jobs: Iterator[Timed]
    if path.suffix == ".toml" or spec.path in made.names():
        jobs = _some(islice(made.load(spec.path, seed), spec.limit), spec.path)
    else:
        check_there(spec.path)
        jobs = traces.read(path, spec.format, spec.limit)
    if spec.jitter_s:
        jobs = _jittered(jobs, spec.jitter_s, Random(f"{seed}/jitter"))
    if spec.tenants > 1:
        jobs = traces.dealt(jobs, [f"tenant-{n}" for n in range(spec.tenants)])
    for at_s, job in jobs:
        yield at_s / spec.rate_scale, job


def check_there(path: str) -> None:
    """Raise InvalidInput if a workload is neither a file nor one that comes with the package."""
    names = made.names()
    if path not in names and not Path(path).exists():
        allowed = f"a file that is there, or the name of a load; {among(path, names)}"
        raise InvalidInput("workload", path, allowed)


def _some(jobs: Iterator[Timed], name: str) -> Iterator[Timed]:
    """Pass jobs on; raises InvalidInput if there are none."""
    first = next(jobs, None)
    if first is None:
        raise InvalidInput("workload", name, "at least one job: this load makes none")
    yield first
    yield from jobs


def _jittered(jobs: Iterator[Timed], jitter_s: float, random: Random) -> Iterator[Timed]:
    """Add noise to coarse clocks; the order of time is kept by sorting."""
    noisy = [(at_s + random.uniform(0.0, jitter_s), n, job) for n, (at_s, job) in enumerate(jobs)]
    return ((at_s, job) for at_s, _, job in sorted(noisy, key=lambda timed: timed[:2]))
