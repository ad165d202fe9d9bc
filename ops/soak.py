"""Half an hour of mixed load with a fault every ten seconds, on the full stack: what grows?

A long drill of `parallax verify` (schedulers, workers, gateways over HTTP, a private server; every
promise checked, every key of Redis accounted for), and for each process the slope of its memory
once it is warm. The server keeps the record of a job for an hour after its end, so its memory
follows the jobs until then; it is told for each job, and not judged. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from parallax.cli.options import start_logging
from parallax.drills.drill import DrillResult, DrillSpec, run_drill
from parallax.drills.shape import drawn, pinned
from parallax.drills.stage import Cast
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders

#: Steepest memory of a process that lived long enough to be judged (MB a minute, seconds).
STEEPEST, LIFE_S = 1.0, 300.0
SEED = 15  # an odd one: nothing is deleted by hand, so nothing may have to be repaired


def judged(result: DrillResult) -> dict[str, float]:
    """Return the slopes that are too steep, by process."""
    return {
        name: round(one.slope, 2)
        for name, one in result.memory.items()
        if one.seconds >= LIFE_S and one.slope > STEEPEST
    }


def summary(result: DrillResult) -> dict[str, Any]:
    """Return what came of it."""
    longest = sorted(result.memory.items(), key=lambda pair: -pair[1].seconds)
    server = result.server
    return {
        "accepted_jobs": result.accepted, "executions": result.executions,
        "faults": dict(sorted(result.faults.items())), "broken": result.broken,
        "drained_s": round(result.drained_s, 1),
        "slopes_mb_per_min": {
            name: {"lived_s": round(one.seconds), "slope": round(one.slope, 2)}
            for name, one in longest[:20]
        },
        "too_steep": judged(result),
        "redis": server and {
            "most_mb": round(server.most, 1), "slope_mb_per_min": round(server.slope, 2),
            "kb_per_job": round(1024 * (server.late - server.early) / max(1, result.accepted), 2),
        },
        "requests": dict(result.asked),
    }  # fmt: skip


@click.command()
@click.option("--duration", default=1800.0, show_default=True, help="Seconds of load and faults.")
@click.option("--rate", default=40.0, show_default=True, help="Jobs a second.")
@click.option("--pause", default=10.0, show_default=True, help="Mean seconds between two faults.")
@click.option("--seed", default=SEED, show_default=True)
def main(duration: float, rate: float, pause: float, seed: int) -> None:
    """Run it."""
    start_logging()
    cast, shape = Cast(gateways=2), drawn(seed, pinned(("small",)))
    spec = DrillSpec(seed, duration, rate, pause, cast=cast, shape=shape)
    with Orders() as orders:
        result = run_drill(
            spec, SystemClock(), lambda text: click.echo(text, err=True), None, orders
        )
    click.echo(json.dumps(summary(result)))
    sys.exit(1 if result.broken or judged(result) else 0)


if __name__ == "__main__":
    main()
