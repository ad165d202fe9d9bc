"""One load, live and simulated: how far is the simulator from what it simulates?

Live means real processes, a real server, and engines that wait the modelled time. The simulator is
told how long a hop from the decision to the worker takes; that is measured first, with jobs that
have the system for themselves. Latencies count from when a job was meant to be sent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parallax.cli.options import policy_arguments
from parallax.core.clock import Clock
from parallax.core.model import Job
from parallax.core.quantiles import quantile
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import ROUTING
from parallax.services.system import Plan, System
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from producers.drive import Sample
from producers.live import Live

#: Quantiles, and how far live and simulated may be apart there.
TOLERANCES = ((0.50, 0.05), (0.95, 0.10))
DRAWS = 5
PROBES, PROBE_PAUSE_S = 30, 0.1
#: Policies that need a pool of workers for prompts.
SPLIT = frozenset({"disaggregated"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What both worlds have in common."""

    workers: int
    profile: str
    seed: int

    def fleet(self, routing: str) -> FleetSpec:
        """Return the simulated fleet."""
        return FleetSpec(self.workers, self.profile, prefill_workers=int(routing in SPLIT))


@dataclass(frozen=True, slots=True)
class Gap:
    """One policy: quantiles of a latency, live and simulated."""

    routing: str
    latency: str  # ttft or e2e
    live: tuple[float, ...]
    simulated: tuple[float, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """How far the simulator is off, as shares of what was measured."""
        return tuple(s / m - 1 for m, s in zip(self.live, self.simulated, strict=True))

    @property
    def held(self) -> bool:
        """Whether all of them are within the tolerances."""
        allowed = [tolerance for _, tolerance in TOLERANCES]
        return all(abs(e) <= most for e, most in zip(self.errors, allowed, strict=True))


def policies(routing: str) -> Policies:
    """Return the default composition with this routing policy; "" is the default one."""
    return Policies(routing=PolicyChoice(routing)) if routing else Policies()


def every_routing() -> list[str]:
    """Return the default composition and every routing policy, the default one first."""
    return ["", *sorted(ROUTING)]


def measured(
    setting: Setting, routing: str, jobs: Sequence[Timed], hop_s: float, clock: Clock
) -> list[Gap]:
    """Run the load in both worlds; return the gaps of both latencies."""
    fleet = setting.fleet(routing)
    samples = lived(setting, routing, jobs, clock)
    outcomes = []
    for seed in range(setting.seed, setting.seed + DRAWS):  # of policies that draw lots
        spec = RunSpec(WorkloadSpec("given"), fleet, policies(routing), seed=seed, hop_s=hop_s)
        outcomes += [one for one in simulate(spec, jobs).jobs if one.outcome == "completed"]
    return [
        _gap(routing, "ttft", [s.ttft for s in samples], [o.ttft_s for o in outcomes]),
        _gap(routing, "e2e", [s.e2e for s in samples], [o.e2e_s for o in outcomes]),
    ]


def lived(setting: Setting, routing: str, jobs: Sequence[Timed], clock: Clock) -> list[Sample]:
    """Run the load on real processes."""
    fleet = setting.fleet(routing)
    arguments = (*policy_arguments(policies(routing)), "--seed", str(setting.seed))
    worker = ("--engine", "clock", "--profile", setting.profile)
    plan = Plan(0, 1, worker, arguments)
    with System(plan, clock, ephemeral=True, logs=Path(os.devnull)) as system:
        for n in range(fleet.workers):
            role = ("--role", _role(n, fleet.prefill_workers))
            system.fleet.start(f"worker-{n}", "worker", "--name", f"w{n:04d}", *worker, *role)
        system.await_workers(fleet.workers)
        return list(Live(system.url, "main", clock, system).run(jobs).samples.values())


def _role(number: int, prefill: int) -> str:
    if not prefill:
        return "both"
    return "prefill" if number < prefill else "decode"


def hop_of(setting: Setting, clock: Clock) -> float:
    """Return how long it takes a job to reach an engine that has nothing else to do (seconds)."""
    probes = [
        (n * PROBE_PAUSE_S, Job(f"probe-{n}", "probe", 16, 1, output_tokens=1))
        for n in range(PROBES)
    ]
    waits = [sample.wait for sample in lived(setting, "", probes, clock)]
    return quantile([wait for wait in waits if wait is not None], 0.5)


def _gap(
    routing: str, latency: str, live: Sequence[float | None], simulated: Sequence[float]
) -> Gap:
    known = [value for value in live if value is not None]
    return Gap(
        routing or "(default)", latency,
        tuple(quantile(known, q) for q, _ in TOLERANCES),
        tuple(quantile(simulated, q) for q, _ in TOLERANCES),
    )  # fmt: skip
