"""One load on real engines and in the simulator: how far is it from *these* engines?

Live means Parallax with a worker in front of each server. The simulator has a profile of each
server (`parallax calibrate`), and is told how long jobs take to reach a server; that is measured
first. Whole answers are asked for; their first token is when the server says it was, where it does.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from parallax.cli.options import policy_arguments
from parallax.consumers.upstream.backend import parsed_backend
from parallax.consumers.upstream.kinds import Facts
from parallax.consumers.upstream.opening import key_of, probed
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.core.settings import Policies
from parallax.engine.profiles import Profile
from parallax.lab.against_sim import LATENCIES, Draw, Gap, means, policies, simulated_on
from parallax.producers.load.drive import Sample
from parallax.producers.load.live import Live
from parallax.services.orders import Orders
from parallax.services.system import Plan, System
from parallax.sim.calibration.loads import adapted, body_of, rate_for, scale_to
from parallax.sim.calibration.rounds import calibrated
from parallax.sim.spec import FleetSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.workloads.catalog import load

#: How far simulated and live may be apart at these quantiles.
TOLERANCES = ((0.50, 0.10), (0.95, 0.20))
DRAWS, PROBES, PROBE_PAUSE_S = 6, 40, 0.2
#: Of the probes the first find connections and code that nobody has used yet.
WARMING = 5
#: Kinds that take `ignore_eos`.
FULL_LENGTH = frozenset({"llamacpp", "vllm", "sglang"})


@dataclass(frozen=True, slots=True)
class Server:
    """A server: how the user named it, what it says of itself, and its profile."""

    text: str
    facts: Facts
    profile: Profile

    @property
    def context(self) -> int:
        """Tokens that one request may have."""
        return self.facts.context or self.profile.kv_capacity // self.profile.max_seqs


def known(text: str, profile: Profile) -> Server:
    """Return a server whose profile is known; raises Failure if it is not well."""
    backend = parsed_backend(text)
    return Server(text, probed(backend, key_of(backend, os.environ))[0], profile)


def measured(
    texts: Sequence[str], seconds: float, clock: Clock, orders: Orders, told: Callable[[str], None]
) -> list[Server]:
    """Return servers that are calibrated now, all at once; raises Failure, Interrupted.

    Those of one machine are in each other's way then, as they are under a load.
    """
    return asyncio.run(_measured(texts, seconds, clock, orders, told))


async def _measured(
    texts: Sequence[str], seconds: float, clock: Clock, orders: Orders, told: Callable[[str], None]
) -> list[Server]:
    tasks = [
        asyncio.ensure_future(_one_measured(text, seconds, clock, orders, told)) for text in texts
    ]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one_measured(
    text: str, seconds: float, clock: Clock, orders: Orders, told: Callable[[str], None]
) -> Server:
    from parallax.consumers.upstream.calibrating import Measuring, Wanted

    backend = parsed_backend(text)
    wanted = Wanted(seconds, 3, None, None, 24, secrets.randbelow(2**32))
    key = key_of(backend, os.environ)
    measuring = Measuring(backend, key, wanted, clock, orders, lambda _: None)
    found = await measuring.run()
    orders.check()
    kv = found.facts.kv_capacity or found.slots * USUAL_KV
    name = f"measured-{found.facts.kind}"
    fit = calibrated(found.measured, name, found.slots, kv, BUDGET)
    errors = ", ".join(f"{one.name} {one.rms:.0%}" for one in fit.curves)
    told(f"{backend.root}: {found.rounds} of {found.planned} rounds; fit errors: {errors}")
    return Server(text, found.facts, fit.profile)


#: Most jobs of a load that are looked at.
MOST_JOBS = 2_000
#: Tokens of a step, and KV cache of a slot, of servers that do not tell them.
BUDGET, USUAL_KV = 2_048, 8_192


def load_for(
    workload: str, servers: Sequence[Server], share: float, rate: float | None, seconds: float,
    seed: int, longest: int | None = None,
) -> list[Timed]:  # fmt: skip
    """Return the jobs of a load, with lengths that fit the servers, that come in so many seconds.

    They come `rate` times faster than the load says, or as fast as uses that share of the servers.
    """
    first = list(islice(load(WorkloadSpec(workload), seed), MOST_JOBS))
    takes = min(server.context for server in servers)
    scale = scale_to(min(takes, longest or takes), first)
    jobs = adapted(first, scale, f"bench-{secrets.token_hex(3)}")  # no cache knows its texts
    faster = rate or rate_for(share, jobs, [server.profile for server in servers])
    found = [(at / faster, job) for at, job in jobs if at / faster < seconds]
    if not found:
        raise InvalidInput("--seconds", seconds, "longer: no job of the load comes in it")
    return found


def bodies(jobs: Sequence[Timed], servers: Sequence[Server]) -> dict[str, bytes]:
    """Return the body of each job."""
    full = all(server.facts.kind in FULL_LENGTH for server in servers)
    return {job.id: body_of(job, full_length=full) for _, job in jobs}


def lived(
    servers: Sequence[Server], chosen: Policies, jobs: Sequence[Timed], clock: Clock,
    orders: Orders,
) -> tuple[list[float], Draw]:  # fmt: skip
    """Return how long jobs take to reach an idle engine (seconds), and the load's latencies."""
    arguments = policy_arguments(chosen)
    own = [("--backend", server.text) for server in servers]
    plan = Plan(len(servers), 1, (), arguments, backends=own)
    with System(plan, clock, ephemeral=True, logs=Path(os.devnull), orders=orders) as system:
        probes = [
            (n * PROBE_PAUSE_S, Job(f"probe-{n}", "probe", 16, 1, output_tokens=1))
            for n in range(PROBES)
        ]
        waits = [one.wait for one in _run(system, probes, servers, clock, orders)][WARMING:]
        done = _run(system, jobs, servers, clock, orders)
    kept = [(one.ttft, one.e2e) for one in done if one.ttft is not None and one.e2e is not None]
    hops_s = [wait for wait in waits if wait is not None]
    return hops_s, Draw([ttft for ttft, _ in kept], [e2e for _, e2e in kept])


def _run(
    system: System, jobs: Sequence[Timed], servers: Sequence[Server], clock: Clock, orders: Orders
) -> list[Sample]:
    live = Live(system.url, "main", clock, system, orders=orders, bodies=bodies(jobs, servers))
    run = live.run(jobs)
    orders.check()  # a run that ended early is no draw
    return list(run.samples.values())


def gaps(
    servers: Sequence[Server], routing: str, jobs: Sequence[Timed], seed: int, clock: Clock,
    orders: Orders,
) -> list[Gap]:  # fmt: skip
    """Run the load in both worlds; return the gaps of both latencies. Raises Interrupted."""
    chosen = policies(routing)
    hops_s, live = lived(servers, chosen, jobs, clock, orders)
    fleet = FleetSpec(
        len(servers), servers[0].profile.name, profiles=tuple(one.profile for one in servers)
    )
    drawn = [simulated_on(fleet, chosen, jobs, hops_s, seed + n) for n in range(DRAWS)]
    return [
        Gap(
            routing or "(default)", latency, 1, means([live], latency), means(drawn, latency),
            TOLERANCES,
        )
        for latency in LATENCIES
    ]  # fmt: skip
