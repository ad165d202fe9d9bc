"""Do both builds decide the same, to the last byte?

    python -m ops.compile.same build/compiled

Each build simulates the same loads under many compositions, and decides the same batches of events
as a leader does whose decisions are recorded. The results are hashed, field by field.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from parallax.broker.store.recording import encoded_actions
from parallax.core.build import compiled
from parallax.core.lifecycle import Outcome
from parallax.core.model import Usage
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import (
    ADMISSION,
    FAIRNESS,
    HEDGING,
    ORDERING,
    ROUTING,
    STEALING,
    Registry,
)
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.events import AttemptBegan, AttemptEnded, Event, JobArrived, WorkerReported
from parallax.scheduling.scheduler import build_scheduler
from parallax.sim.report.record import record
from parallax.sim.simulate import simulate
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.workers import view_of
from parallax.sim.workloads.catalog import load

KINDS: dict[str, Registry[Any]] = {
    "admission": ADMISSION, "fairness": FAIRNESS, "ordering": ORDERING, "routing": ROUTING,
    "hedging": HEDGING, "stealing": STEALING,
}  # fmt: skip
#: Parameters that a policy cannot do without.
NEEDED: dict[str, dict[str, object]] = {"token_bucket": {"rate": 50_000.0, "burst": 500_000.0}}
LOAD = WorkloadSpec("chat", limit=600, rate_scale=3.0)


def compositions() -> Iterator[tuple[str, RunSpec]]:
    """Yield the runs: each policy once, and what more a fleet can go through."""
    usual = RunSpec(LOAD, FleetSpec(workers=4, straggler_share=0.02), sample_every_s=1.0)
    yield "default", usual
    for kind, registry in KINDS.items():
        for name in registry:
            choice = PolicyChoice(name, NEEDED.get(name, {}))
            yield f"{kind} {name}", replace(usual, policies=Policies(**{kind: choice}))
    split = replace(usual.fleet, prefill_workers=1)
    yield (
        "two pools",
        replace(usual, fleet=split, policies=Policies(routing=PolicyChoice("disaggregated"))),
    )
    faults = (
        FaultSpec("crash", "w0001", 2.0, 20.0),
        FaultSpec("slow", "w0002", 5.0, 10.0, 4.0),
        FaultSpec("stale", "w0003", 1.0, 5.0),
    )
    yield "faults", replace(usual, faults=faults, hop_s=0.003)
    yield "little memory", replace(usual, fleet=replace(usual.fleet, kv_capacity=20_000))
    yield "closed", replace(usual, workload=replace(LOAD, closed=True), tick_s=0.05)


def simulated(spec: RunSpec) -> str:
    """Return the digest of all that a run leaves behind."""
    run = simulate(spec)
    digest = hashlib.sha256(repr([dataclasses.astuple(job) for job in run.jobs]).encode())
    digest.update(json.dumps(record(run, {})).encode())
    digest.update(repr([run.counters, run.worker_busy_s, run.duration_s, run.samples]).encode())
    return digest.hexdigest()


def recorded(policies: Policies) -> str:
    """Return the digest of the decisions of a leader, as they are written into a recording."""
    scheduler, digest = build_scheduler(policies, 7), hashlib.sha256()
    events: list[Event] = [WorkerReported(f"w{n}", 8, kv_capacity=100_000) for n in range(3)]
    for number, (at_s, job) in enumerate(load(LOAD, 7)):
        events.append(JobArrived(view_of(job, at_s, at_s + 30.0, 0), f"{number}-0"))
        actions = scheduler.handle(events, at_s)
        digest.update(encoded_actions(actions))
        events = []
        for action in actions:
            if isinstance(action, Dispatch):
                key = action.job_id, action.worker, action.attempt
                used = Usage(job.prompt_tokens, 1 + number % 90, number % 16, 0.5, 0.1)
                ended = AttemptEnded(
                    action.job_id, action.tenant, action.worker, action.attempt, action.estimate,
                    Outcome.COMPLETED if number % 7 else None, used,
                )  # fmt: skip
                events += [AttemptBegan(*key), ended]
    digest.update(repr(scheduler.memory.remember()).encode())
    return digest.hexdigest()


def digests() -> dict[str, str]:
    """Return the digest of everything under its name."""
    found = {}
    for name, spec in compositions():
        found[f"simulated: {name}"] = simulated(spec)
        found[f"recorded: {name}"] = recorded(spec.policies)
    return found


def of_tree(tree: Path) -> tuple[bool, dict[str, str]]:
    """Let the build in a tree say whether it is compiled, and its digests."""
    command = [sys.executable, "-m", "ops.compile.same"]
    done = subprocess.run(  # noqa: S603
        command, cwd=tree, check=True, timeout=1_200, stdout=subprocess.PIPE
    )
    document = json.loads(done.stdout)
    return document["compiled"], document["digests"]


@click.command()
@click.argument("tree", required=False, type=click.Path(exists=True, path_type=Path))
def main(tree: Path | None) -> None:
    """Compare the build in TREE with this one; without TREE print what this one comes to."""
    mine = digests()
    if tree is None:
        click.echo(json.dumps({"compiled": compiled(), "digests": mine}))
        return
    is_compiled, theirs = of_tree(tree)
    if is_compiled == compiled():
        raise click.ClickException("one of the two builds must be compiled, and the other not")
    different = sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
    for name in different:
        click.echo(f"not the same: {name}")
    click.echo(f"{len(mine) - len(different)} of {len(mine)} are the same in both builds")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
