"""Simulating a run: the same scheduler and policies as live, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parallax.core.model import Slo
from parallax.engine.profiles import Profile
from parallax.scheduling.scheduler import build_scheduler
from parallax.sim.closed import ClosedLoop
from parallax.sim.control import Autoscaling, Faults
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.spec import RunSpec
from parallax.sim.timed import Timed
from parallax.sim.workloads.catalog import load
from parallax.sim.world import Followed, World


def simulate(
    spec: RunSpec,
    jobs: Iterable[Timed] | None = None,
    follow: Followed | None = None,
    profile: Profile | None = None,
    keep: Callable[[JobOutcome], None] | None = None,
) -> Run:
    """Run `spec` to its end and return what became of every job.

    `jobs` (seconds from the start, job), in order of time, stand in for the spec's workload;
    `follow` is asked after every job which others its end brings about (a closed loop: the next
    turn of a session, after some thinking), instead of what the spec says; `profile` stands in for
    the one that the spec names. The same spec and jobs give the same run.

    Whoever may `keep` outcomes is given each as soon as nothing can change it, and the run that is
    returned has none: its memory follows what is open, however many jobs there are.
    """
    scheduler = build_scheduler(spec.policies, spec.seed, Slo(spec.slo_ttft_s, spec.slo_tpot_s))
    offered = load(spec.workload, spec.seed) if jobs is None else jobs
    if spec.workload.closed:
        loop = ClosedLoop(offered)
        offered, follow = loop.first, follow or loop.follow
    world = World(spec, scheduler, follow, profile, keep)
    Faults(world, spec.faults)
    if spec.policies.scaling is not None:
        Autoscaling(world, spec.policies.scaling, spec)
    world.play(offered)
    world.close()
    if scheduler.rollout_ended:
        world.books.notes.append(f"rollout: {scheduler.rollout_ended}")
    return Run(
        spec.document(),
        list(world.books.outcomes.values()),
        world.books.samples,
        {name: float(value) for name, value in world.books.counters.items()},
        {name: busy / 1000 for name, busy in sorted(world.books.busy_ms.items())},
        world.now_ms / 1000,
        world.books.notes,
    )
