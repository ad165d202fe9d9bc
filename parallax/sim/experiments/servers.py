"""Plain queueing theory in the simulator: engines that serve one job at a time.

A mean job takes one second, so loads and times read as in the textbooks. What a job's answer costs
is written in its prompt: `prompt_tokens` is a hundred times the *predicted* seconds (or as the
experiment says), prompts take no time, and each token of the answer takes 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log, sqrt
from statistics import fmean

import numpy as np
import numpy.typing as npt

from parallax.core.model import Job
from parallax.core.settings import Policies
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.sim.outcome import Run
from parallax.sim.report.statistics import percentile
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.world import Followed

Numbers = npt.NDArray[np.float64]

STEP_S = 0.01
LONGEST = 10_000  # steps of a job
SERVER = Profile(
    "server", StepCost(1000 * STEP_S, 0.0, 0.0, 0.0, 0.0), 1_000_000_000,
    max_seqs=1, token_budget=1_000_000,
)  # fmt: skip
#: The part of a run that is not judged: the queues fill.
WARM_UP = 0.2


def spread(count: int, draw: np.random.Generator) -> Numbers:
    """Return probabilities, one from each of `count` equal parts of 0..1, in random order.

    Drawn so, a distribution is met as exactly as so many draws can, and fewer jobs are enough to
    meet a formula (stratified sampling).
    """
    shares: Numbers = (np.arange(count) + draw.random(count)) / count
    return draw.permutation(shares)


def sizes(count: int, cv: float, draw: np.random.Generator) -> Numbers:
    """Return services of mean 1: exponential for `cv` 1, else lognormal."""
    if cv == 1.0:
        exponential: Numbers = -np.log1p(-spread(count, draw))
        return exponential
    sigma = sqrt(log(1 + cv * cv))
    points = (np.arange(200_001) / 200_000 - 0.5) * 16
    mass = np.cumsum(np.exp(-points * points / 2))
    found: Numbers = np.exp(sigma * np.interp(spread(count, draw), mass / mass[-1], points))
    found /= found.mean()
    return found


def arrivals(count: int, rate: float, draw: np.random.Generator) -> Numbers:
    """Return so many times, `rate` a second, with exponential gaps."""
    times: Numbers = np.cumsum(-np.log1p(-spread(count, draw)) / rate)
    return times


def offered(count: int, rate: float, seed: int, cv: float = 1.0) -> Iterator[tuple[float, float]]:
    """Yield arrival and service of so many jobs; the same for the same seed."""
    draw = np.random.default_rng((seed, count, round(1000 * rate)))
    times, lengths = arrivals(count, rate, draw), sizes(count, cv, draw)
    return zip(times.tolist(), lengths.tolist(), strict=True)


def poisson(count: int, rate: float, seed: int, cv: float = 1.0) -> list[Timed]:
    """Return so many jobs, `rate` a second in the mean, whose length is as predicted."""
    return [(at, job(n, s)) for n, (at, s) in enumerate(offered(count, rate, seed, cv))]


def job(number: int, seconds: float, predicted_s: float | None = None, tenant: str = "a") -> Job:
    """Return a job of that length; its prompt carries its prediction."""
    steps = min(LONGEST, max(1, round(seconds / STEP_S)))
    prompt = steps if predicted_s is None else max(1, round(predicted_s / STEP_S))
    return Job(f"j{number}", tenant, prompt, LONGEST, output_tokens=steps)


def run(
    jobs: Sequence[Timed], servers: int, policies: Policies, seed: int = 0,
    follow: Followed | None = None, fleet: FleetSpec | None = None, **more: object,
) -> Run:  # fmt: skip
    """Simulate these jobs on so many servers."""
    fleet = replace(fleet or FleetSpec(), workers=servers)
    spec = RunSpec(WorkloadSpec("x"), fleet, policies, seed=seed, **more)  # type: ignore[arg-type]
    return simulate(spec, jobs, follow, SERVER)


def responses(done: Run) -> list[float]:
    """Return the seconds that the jobs after the warm-up took, from arrival to end."""
    jobs = done.jobs[int(WARM_UP * len(done.jobs)) :]
    return [job.e2e_s for job in jobs if job.outcome == "completed"]


def figures(done: Run) -> dict[str, float]:
    """Return mean and tail of the response times, and what the servers were busy with."""
    times = sorted(responses(done))
    busy = sum(done.worker_busy_s.values())
    return {
        "mean_s": fmean(times),
        "p99_s": percentile(times, 99),
        "busy_s": busy,
        "load": busy / (len(done.worker_busy_s) * done.duration_s),
    }
