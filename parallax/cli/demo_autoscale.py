"""`parallax demo --autoscale`: a step of the load brings workers up, its end lets them go.

What is to be shown is checked, and said: jobs answered once each, a fleet that grew and shrank with
at most one change of direction, and first tokens in time again within `REGAIN_S` of the step.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import click

from parallax.cli.load_report import report, watched_run
from parallax.cli.scheduler import candidate
from parallax.core.clock import Clock
from parallax.core.lifecycle import Outcome
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile, profile_named
from parallax.producers.load.drive import Run
from parallax.producers.load.live import Live
from parallax.producers.load.workload import Lengths, Workload
from parallax.scheduling.autoscaler import Bounds
from parallax.services.autoscaler import ScalingSettings
from parallax.services.orders import Orders
from parallax.services.scaled import Scaled
from parallax.services.system import Plan, System
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed

STEP, REGAIN_S, ATTAINED, NEAR = 4.0, 30.0, 0.95, 0.15
SLO_S, SPEED, PROFILE = 2.0, 0.05, "laptop"
FEWEST, MOST = 1, 8
EVERY_S, COOLDOWN_S, STARTUP_S, STABLE_S = 1.0, 10.0, 3.0, 25.0
#: Jobs a second that one worker serves easily, and parts of the run: calm, step, calm.
BASE_RATE, PARTS = 4.0, (0.2, 0.4, 0.4)
_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class World:
    """One world in figures: jobs served in time, workers used, and changes of direction."""

    attained: float
    regained_s: float | None  # after the step, until every later window was in time
    worker_s: float
    most: int
    last: int
    turns: int


def jobs_of(duration_s: float, seed: int = 1) -> list[Timed]:
    """Return the load: calm, four times as much, calm again."""
    jobs, start = list[Timed](), 0.0
    for n, (part, factor) in enumerate(zip(PARTS, (1.0, STEP, 1.0), strict=True)):
        load = Workload(
            BASE_RATE * factor, prompt=Lengths(400), output=Lengths(120, most=512),
            prefix=f"demo{n}", seed=seed + n,
        )  # fmt: skip
        jobs += [(start + at, job) for at, job in load.jobs(duration_s=part * duration_s)]
        start += part * duration_s
    return jobs


def policy() -> PolicyChoice:
    """Return how the demo is scaled, in both worlds."""
    given = {
        "slo_s": SLO_S, "startup_s": STARTUP_S, "stable_s": STABLE_S, "target": 0.7,
        "fewest": FEWEST, "most": MOST,
    }  # fmt: skip
    return PolicyChoice("backlog_slo", given)


class Watch:
    """Turns the autoscaler with the run, and adds up how many workers there are."""

    def __init__(self, system: System, scaled: Scaled, clock: Clock) -> None:
        self._system, self._scaled, self._clock = system, scaled, clock
        self._since = clock.monotonic()
        self.worker_s, self.most, self.sizes = 0.0, 0, list[int]()

    def close(self) -> None:
        """Leave the seat."""
        self._scaled.close()

    def __call__(self) -> None:
        """Look after it."""
        now, there = self._clock.monotonic(), len(self._system.processes.alive("worker-"))
        staying = len(self._system.processes.staying("worker-"))
        self.worker_s += there * (now - self._since)
        self._since, self.most = now, max(self.most, there)
        if not self.sizes or self.sizes[-1] != staying:
            self.sizes.append(staying)
        self._scaled.turn()


def turns_of(sizes: Sequence[int]) -> int:
    """Return how often a number of workers changed its direction."""
    ups = [after > before for before, after in pairwise(sizes) if after != before]
    return sum(one != other for one, other in pairwise(ups))


def attainment(met: Sequence[tuple[float, bool]], step_s: float) -> tuple[float, float | None]:
    """Return the share in time, and how long after the step every later window was, in seconds.

    `met`: when a job was to be sent, and whether its first token came in time.
    """
    share = sum(fine for _, fine in met) / len(met) if met else 0.0
    windows: dict[int, list[bool]] = {}
    for due, fine in met:
        if due >= step_s:
            windows.setdefault(int((due - step_s) / _WINDOW_S), []).append(fine)
    late = [n for n, found in windows.items() if sum(found) < ATTAINED * len(found)]
    if not windows or (late and max(late) == max(windows)):
        return share, None
    return share, (max(late) + 1) * _WINDOW_S if late else 0.0


def lived(run: Run, watch: Watch, step_s: float) -> World:
    """Return the figures of the live run."""
    met = [
        (s.due, s.outcome is Outcome.COMPLETED and s.ttft is not None and s.ttft <= SLO_S)
        for s in run.samples.values()
    ]
    share, regained = attainment(met, step_s)
    return World(
        share, regained, watch.worker_s, watch.most, watch.sizes[-1], turns_of(watch.sizes)
    )


def slowed(name: str, speed: float) -> Profile:
    """Return a profile whose steps take as long as those of an engine of that speed."""
    profile = profile_named(name)
    steps = {field.name: getattr(profile.cost, field.name) / speed for field in fields(StepCost)}
    return replace(profile, cost=StepCost(**steps))


def simulated(jobs: Sequence[Timed], step_s: float) -> World:
    """Run the same load in the simulator, in `STARTUP_S` a worker serves; return its figures."""
    policies = replace(Policies(), scaling=policy())
    spec = RunSpec(
        WorkloadSpec("given"), FleetSpec(FEWEST, PROFILE, startup_s=STARTUP_S), policies,
        scale_every_s=EVERY_S, sample_every_s=0.5,
    )  # fmt: skip
    done = simulate(spec, jobs, profile=slowed(PROFILE, SPEED))
    met = [(one.arrival_s, one.outcome == "completed" and one.ttft_s <= SLO_S) for one in done.jobs]
    share, regained = attainment(met, step_s)
    sizes = [sample.workers for sample in done.samples]
    return World(share, regained, done.counters["worker_s"], max(sizes), sizes[-1], turns_of(sizes))


def proofs(world: World, kept: bool) -> list[tuple[bool, str]]:
    """Return the claims, and whether each holds."""
    regained = "never" if world.regained_s is None else f"{world.regained_s:g} s after the step"
    fast = world.regained_s is not None and world.regained_s <= REGAIN_S
    return [
        (kept, "nothing was lost, nothing finished twice"),
        (world.most >= 2 * FEWEST and world.most > FEWEST, f"up to {world.most} workers"),
        (world.last < world.most, f"and down to {world.last} when it was over"),
        (world.turns <= 1, f"{world.turns} change(s) of direction, 1 is allowed"),
        (fast, f"first tokens within {SLO_S:g} s again for {ATTAINED:.0%}: {regained}, "
         f"{REGAIN_S:g} s are allowed"),
    ]  # fmt: skip


def nearness(live: World, twin: World) -> list[tuple[bool, str]]:
    """Return the simulator's error, and whether it is small enough."""
    found = []
    for name, measured, told in (
        ("worker seconds", live.worker_s, twin.worker_s),
        ("in time", live.attained, twin.attained),
    ):
        off = told / measured - 1 if measured else 1.0
        text = f"{name}: {measured:.3g} live, {told:.3g} simulated ({off:+.1%}, {NEAR:.0%} allowed)"
        found.append((abs(off) <= NEAR, text))
    return found


def demonstrate(
    duration_s: float, as_json: bool, against_sim: bool, clock: Clock, orders: Orders
) -> bool:
    """Run the demo; return whether all was shown: one that was ended early shows nothing."""
    bounds = Bounds(FEWEST, MOST, COOLDOWN_S)
    settings = ScalingSettings(policy(), bounds, EVERY_S)
    worker = ("--engine", "clock", "--profile", PROFILE, "--speed", str(SPEED))
    plan = Plan(FEWEST, 2, worker, most_workers=MOST)
    jobs, step_s = jobs_of(duration_s), PARTS[0] * duration_s
    say(f"Starting an embedded server, 2 schedulers and {FEWEST} worker; up to {MOST} are allowed.")
    logs = Path(os.devnull)
    with System(plan, clock, ephemeral=True, restart=True, logs=logs, orders=orders) as system:
        say(f"Offering {len(jobs)} jobs in {duration_s:g} s; from {step_s:g} s on {STEP:g} times "
            f"as many, until {(PARTS[0] + PARTS[1]) * duration_s:g} s.")  # fmt: skip
        watch = Watch(system, Scaled([system], settings, clock, candidate()), clock)
        live = Live(system.url, "main", clock, system, orders=orders, beside=watch)
        run = watched_run(live, jobs)
        watch.close()
        kept = report(run, live, as_json, None)
    if run.interrupted:
        return False
    world = lived(run, watch, step_s)
    shown = proofs(world, kept)
    if against_sim:
        shown += nearness(world, simulated(jobs, step_s))
    for held, text in shown:
        say(f"{'shown' if held else 'NOT SHOWN'}: {text}")
    say(f"{world.worker_s:.0f} worker seconds; {MOST} workers all the time would have been "
        f"{MOST * run.ended_s:.0f}.")  # fmt: skip
    return all(held for held, _ in shown)


def say(text: str) -> None:
    """Tell the viewers."""
    click.echo(text, err=True)
