"""One load, live and simulated: how large is the simulator's error?

Live means real processes, a real server, and engines that wait the modelled time. The simulator is
told how long hops from a producer to an engine take; that is measured first, with jobs that have
the system for themselves. Latencies count from when a job was meant to be sent.

One run may say little: the 95th percentile of the same load differs by a tenth from draw to draw if
a policy draws lots, and a policy that draws none may turn to another worker, and from then on take
another course, for a millisecond. How much draws differ is known from the simulator, which draws
many times, with one of the measured hops for each job; by that a load is run live often enough for
the mean of its draws to be worth comparing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random
from statistics import mean, stdev

from parallax.cli.options import policy_arguments
from parallax.core.clock import Clock
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import ROUTING
from parallax.producers.load.drive import Sample
from parallax.producers.load.live import Live
from parallax.services.orders import Orders
from parallax.services.system import Plan, System
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed

#: Quantiles, and how far live and simulated may be apart there.
TOLERANCES = ((0.50, 0.05), (0.95, 0.10))
DRAWS, MOST_LIVE_DRAWS = 12, 8
#: The noise of a mean of live draws may be this part of what live and simulated may be apart.
NOISE = 0.4
PROBES, PROBE_PAUSE_S = 30, 0.1
#: Policies that need a pool of workers for prompts.
SPLIT = frozenset({"disaggregated"})


@dataclass(frozen=True, slots=True)
class Setting:
    """The parameters that the live run and the simulation share."""

    workers: int
    profile: str
    seed: int

    def fleet(self, routing: str) -> FleetSpec:
        """Return the simulated fleet."""
        return FleetSpec(self.workers, self.profile, prefill_workers=int(routing in SPLIT))


@dataclass(frozen=True, slots=True)
class Draw:
    """The latencies of one run, in seconds."""

    ttft: list[float]
    e2e: list[float]


LATENCIES = ("ttft", "e2e")


@dataclass(frozen=True, slots=True)
class Gap:
    """One policy: quantiles of a latency, live and simulated: means over draws."""

    routing: str
    latency: str  # one of LATENCIES
    draws: int  # live
    live: tuple[float, ...]
    simulated: tuple[float, ...]
    tolerances: tuple[tuple[float, float], ...] = TOLERANCES

    @property
    def errors(self) -> tuple[float, ...]:
        """The simulator's errors, as shares of the measured values."""
        return tuple(s / m - 1 for m, s in zip(self.live, self.simulated, strict=True))

    @property
    def held(self) -> bool:
        """Whether all of them are within the tolerances."""
        allowed = [tolerance for _, tolerance in self.tolerances]
        return all(abs(e) <= most for e, most in zip(self.errors, allowed, strict=True))


def policies(routing: str) -> Policies:
    """Return the default composition with this routing policy; "" is the default one."""
    return Policies(routing=PolicyChoice(routing)) if routing else Policies()


def every_routing() -> list[str]:
    """Return the default composition and every routing policy, the default one first."""
    return ["", *sorted(ROUTING)]


def measured(
    setting: Setting, routing: str, jobs: Sequence[Timed], hops_s: Sequence[float], clock: Clock,
    orders: Orders,
) -> list[Gap]:  # fmt: skip
    """Run the load in both worlds; return the gaps of both latencies.

    Raises Interrupted after an order to stop.
    """
    drawn = []
    for n in range(DRAWS):
        orders.check()
        drawn.append(simulated(setting, routing, jobs, hops_s, setting.seed + n))
    live = [lived(setting, routing, jobs, clock, orders, n) for n in range(live_draws(drawn))]
    return [
        Gap(
            routing or "(default)",
            latency,
            len(live),
            means(live, latency),
            means(drawn, latency),
        )
        for latency in LATENCIES
    ]


def simulated(
    setting: Setting, routing: str, jobs: Sequence[Timed], hops_s: Sequence[float], seed: int
) -> Draw:
    """Run the load in the simulator. Each job is late by one of the hops."""
    return simulated_on(setting.fleet(routing), policies(routing), jobs, hops_s, seed)


def simulated_on(
    fleet: FleetSpec, chosen: Policies, jobs: Sequence[Timed], hops_s: Sequence[float], seed: int
) -> Draw:
    """Run the load in the simulator on this fleet. Each job is late by one of the hops."""
    random, hop_s = Random(f"{seed}/hops"), min(hops_s)
    late = {job.id: random.choice(hops_s) - hop_s for _, job in jobs}
    arriving = sorted(((at + late[job.id], job) for at, job in jobs), key=lambda timed: timed[0])
    spec = RunSpec(WorkloadSpec("given"), fleet, chosen, seed=seed, hop_s=hop_s)
    done = [one for one in simulate(spec, arriving).jobs if one.outcome == "completed"]
    return Draw(
        [one.ttft_s + late[one.id] for one in done], [one.e2e_s + late[one.id] for one in done]
    )


def live_draws(drawn: Sequence[Draw]) -> int:
    """Return how often to run a load live whose simulated draws differ as these do."""
    needed = 1
    for latency in LATENCIES:
        for quantiles, (_, tolerance) in zip(_of(drawn, latency), TOLERANCES, strict=True):
            noise = stdev(quantiles) / mean(quantiles) / (NOISE * tolerance)
            needed = max(needed, ceil(noise**2))
    return min(needed, MOST_LIVE_DRAWS)


def _of(drawn: Sequence[Draw], latency: str) -> list[list[float]]:
    """Return each quantile of a latency, in every draw."""
    return [[quantile(getattr(draw, latency), q) for draw in drawn] for q, _ in TOLERANCES]


def means(drawn: Sequence[Draw], latency: str) -> tuple[float, ...]:
    return tuple(mean(quantiles) for quantiles in _of(drawn, latency))


def lived(
    setting: Setting, routing: str, jobs: Sequence[Timed], clock: Clock, orders: Orders,
    number: int = 0,
) -> Draw:  # fmt: skip
    """Run the load on real processes, for the so-manieth time; raises Interrupted when told to."""
    samples = _samples(setting, routing, jobs, clock, orders, number)
    known = [(s.ttft, s.e2e) for s in samples if s.ttft is not None and s.e2e is not None]
    return Draw([ttft for ttft, _ in known], [e2e for _, e2e in known])


def _samples(
    setting: Setting, routing: str, jobs: Sequence[Timed], clock: Clock, orders: Orders,
    number: int,
) -> list[Sample]:  # fmt: skip
    fleet = setting.fleet(routing)
    arguments = (*policy_arguments(policies(routing)), "--seed", str(setting.seed + number))
    worker = ("--engine", "clock", "--profile", setting.profile)
    plan = Plan(0, 1, worker, arguments)
    logs = Path(os.devnull)
    with System(plan, clock, ephemeral=True, logs=logs, orders=orders) as system:
        for n in range(fleet.workers):
            role = ("--role", _role(n, fleet.prefill_workers))
            system.processes.start(f"worker-{n}", "worker", "--name", f"w{n:04d}", *worker, *role)
        system.await_workers(fleet.workers)
        run = Live(system.url, "main", clock, system, orders=orders).run(jobs)
        orders.check()  # a run that ended early is no draw
        return list(run.samples.values())


def _role(number: int, prefill: int) -> str:
    if not prefill:
        return "both"
    return "prefill" if number < prefill else "decode"


def hops(setting: Setting, clock: Clock, orders: Orders) -> list[float]:
    """Return how long it takes jobs to reach an engine that has nothing else to do (seconds).

    Raises Interrupted after an order to stop.
    """
    probes = [
        (n * PROBE_PAUSE_S, Job(f"probe-{n}", "probe", 16, 1, output_tokens=1))
        for n in range(PROBES)
    ]
    waits = [sample.wait for sample in _samples(setting, "", probes, clock, orders, 0)]
    return [wait for wait in waits if wait is not None]
