"""Are tenants served by weight, whatever the size of their jobs? And does the control fail?

    python -m ops.bench.fairness [--seconds N]

Two tenants with weights 4:1 keep a backlog for the whole run. The one that is due four times as
much sends many small jobs, the other few large ones, so that counting requests would give it far
more. Served cost (tokens prefilled plus twice the tokens written) is compared over every window of
60 s that lies within the run. The same load under `fifo`, which serves in order of arrival, must
miss the mark, or the measurement could not fail.

Shares must not depend on who takes the jobs in, nor on who leads: in two more runs each tenant
comes through a gateway of its own, one way and the other, and the leader is killed twice.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random

import click

from parallax.core.cost import TokenCost
from parallax.core.model import Job
from parallax.lab.report import publish
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

CLOCK = SystemClock()
COST = TokenCost()
WINDOW_S, STEP_S, SETTLE_S = 60.0, 1.0, 10.0
WEIGHTS = {"gold": 4.0, "bronze": 1.0}
DUE = WEIGHTS["gold"] / WEIGHTS["bronze"]
TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class Shape:
    """A tenant's load: ranges of lengths in tokens, and how many jobs it keeps waiting."""

    prompt: tuple[int, int]
    output: tuple[int, int]
    waiting: int


SHAPES = {
    "gold": Shape((20, 200), (5, 50), 600),
    "bronze": Shape((500, 4_000), (50, 400), 200),
}


@dataclass(slots=True)
class Served:
    """The served cost of one tenant over time."""

    times: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def between(self, start: float, end: float, sums: Sequence[float]) -> float:
        """Return the service in a window; `sums` are the running totals."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        return sums[last] - sums[first]


def windows(served: dict[str, Served], seconds: float) -> Iterator[float]:
    """Yield the ratio of served costs in each window."""
    sums = {tenant: [0.0, *accumulate(s.costs)] for tenant, s in served.items()}
    start = SETTLE_S
    while start + WINDOW_S <= seconds:
        gold, bronze = (
            served[t].between(start, start + WINDOW_S, sums[t]) for t in ("gold", "bronze")
        )
        yield gold / bronze if bronze else float("inf")
        start += STEP_S


@dataclass(frozen=True, slots=True)
class Case:
    """One run: the fairness policy, the gateway of each tenant, and how often the leader dies."""

    fairness: str
    gateways: dict[str, int]
    kills: int = 0

    @property
    def name(self) -> str:
        """The label of the case in the table."""
        ways = ", ".join(f"{tenant} through {n}" for tenant, n in self.gateways.items())
        return f"{self.fairness}; {ways}; {self.kills} leaders killed"


CASES = (
    Case("fair_queuing", {"gold": 1, "bronze": 1}),
    Case("fair_queuing", {"gold": 1, "bronze": 2}, kills=2),
    Case("fair_queuing", {"gold": 2, "bronze": 1}, kills=2),
    Case("fifo", {"gold": 1, "bronze": 1}),
)


def run(case: Case, seconds: float, workers: int, speed: float) -> dict[str, Served]:
    """Keep both tenants backlogged for so long; return what each was served."""
    plan = Plan(
        workers=workers,
        schedulers=2 if case.kills else 1,
        worker_arguments=("--engine", "clock", "--speed", str(speed)),
        scheduler_arguments=("--fairness", case.fairness),
    )
    served = {tenant: Served() for tenant in WEIGHTS}
    with System(plan, CLOCK, ephemeral=True, logs=Path(os.devnull)) as system:
        gateways = {n: Client(system.url) for n in (1, 2)}
        gateways[1].set_weights(WEIGHTS)
        clients = {tenant: gateways[n] for tenant, n in case.gateways.items()}
        deaths = [seconds * (n + 1) / (case.kills + 1) for n in range(case.kills)]
        _keep_backlogged(clients, served, seconds, system, deaths)
        for client in gateways.values():
            client.close()
    return served


def _keep_backlogged(
    clients: dict[str, Client], served: dict[str, Served], seconds: float, system: System,
    deaths: list[float],
) -> None:  # fmt: skip
    random = Random(0)
    waiting = dict.fromkeys(WEIGHTS, 0)
    numbers = 0
    start = CLOCK.monotonic()
    while (now := CLOCK.monotonic() - start) < seconds:
        for tenant, shape in SHAPES.items():
            batch = []
            for _ in range(shape.waiting - waiting[tenant]):
                numbers += 1
                batch.append(_job(f"f{numbers}", tenant, shape, random))
            waiting[tenant] = shape.waiting
            clients[tenant].submit(batch)
        system.watch()
        if deaths and now >= deaths[0]:
            del deaths[0]
            system.processes.kill(system.leader() or system.processes.alive("scheduler")[0])
        for ended in [e for client in set(clients.values()) for e in client.news(25)]:
            report = ended.report
            waiting[report.tenant] -= 1
            served[report.tenant].times.append(now)
            uncached = report.prompt_tokens - report.cached_tokens
            served[report.tenant].costs.append(COST(uncached, report.output_tokens))


def _job(name: str, tenant: str, shape: Shape, random: Random) -> Job:
    output = random.randint(*shape.output)
    prompt = random.randint(*shape.prompt)
    return Job(name, tenant, prompt, shape.output[1], output_tokens=output)


@click.command()
@click.option("--seconds", default=130.0, show_default=True, help="Length of each run.")
@click.option("--workers", default=2, show_default=True, help="Workers with the clock engine.")
@click.option("--speed", default=5.0, show_default=True, help="Speed of their engines.")
def main(seconds: float, workers: int, speed: float) -> None:
    """Compare served cost with weights, for fair queuing and for the control."""
    rows: list[tuple[object, ...]] = []
    fair, control = 0.0, 0.0
    for case in CASES:
        served = run(case, seconds, workers, speed)
        ratios = list(windows(served, seconds))
        worst = max(abs(ratio / DUE - 1) for ratio in ratios)
        if case.fairness == "fifo":
            control = worst
        else:
            fair = max(fair, worst)
        jobs = " / ".join(f"{len(s.costs):,}" for s in served.values())
        rows.append((case.name, DUE, min(ratios), max(ratios), f"{worst:.2%}", jobs))
    publish(
        f"Served cost, gold to bronze, over every {WINDOW_S:g} s",
        ("run", "due", "least", "most", "worst error", "jobs gold / bronze"),
        rows,
        {
            "due": DUE,
            "worst_error": round(fair, 4),
            "control_worst_error": round(control, 4),
        },
        {
            f"worst_error <= {TOLERANCE}": fair <= TOLERANCE,
            f"control_worst_error > {TOLERANCE}": control > TOLERANCE,
        },
    )


if __name__ == "__main__":
    main()
