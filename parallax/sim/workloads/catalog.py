"""Loading what a run is asked to serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

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
    if path.suffix == ".toml" or spec.path in made.names():
        jobs = made.load(spec.path, seed)
    else:
        jobs = traces.read(path, spec.format)
    jobs = _limited(jobs, spec.limit)
    if spec.jitter_s:
        jobs = _jittered(jobs, spec.jitter_s, Random(f"{seed}/jitter"))
    for n, (at_s, job) in enumerate(jobs):
        dealt = replace(job, tenant=f"tenant-{n % spec.tenants}") if spec.tenants > 1 else job
        yield at_s / spec.rate_scale, dealt


def _limited(jobs: Iterator[Timed], limit: int | None) -> Iterator[Timed]:
    for n, timed in enumerate(jobs):
        if limit is not None and n >= limit:
            return
        yield timed


def _jittered(jobs: Iterator[Timed], jitter_s: float, random: Random) -> Iterator[Timed]:
    """Add noise to coarse clocks; the order of time is kept by sorting."""
    noisy = [(at_s + random.uniform(0.0, jitter_s), n, job) for n, (at_s, job) in enumerate(jobs)]
    return ((at_s, job) for at_s, _, job in sorted(noisy, key=lambda timed: timed[:2]))
