"""The options that `parallax simulate` and `parallax compare` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from parallax.cli.names import FormatName, PolicyName, ProfileName
from parallax.cli.run_arguments import KINDS

F = TypeVar("F", bound=Callable[..., Any])

_MEANINGS = {
    "admission": "Admission policy (several in turn: NAME+NAME).",
    "fairness": "Fairness policy.",
    "ordering": "Ordering policy.",
    "gate": "Dispatch gate.",
    "routing": "Routing policy.",
    "predictor": "Predictor of output lengths.",
    "batching": "Batching policy.",
    "hedging": "Hedging policy.",
    "stealing": "Stealing policy.",
    "rollout": "Rollout policy of a canary.",
    "candidate": "Routing policy that the canary tries.",
    "scaling": "Scaling policy.",
}


def experiment_options(command: F) -> F:
    """Add the options that describe a run: workload, fleet, policies, faults, objectives."""
    for option in reversed((
        click.option("--spec", "spec_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Run described in a TOML or JSON file, or the record of a run; other "
                     "options change it."),
        click.option("--format", "form", type=FormatName(), metavar="NAME",
                     help="Format of the trace [default: found out]."),
        click.option("--limit", type=int, help="Serve so many jobs."),
        click.option("--rate-scale", type=float, help="Arrivals so many times faster."),
        click.option("--tenants", type=int, help="Deal the jobs in turn to so many tenants."),
        click.option("--closed", is_flag=True, default=None,
                     help="A session's next turn waits for the answer to the one before."),
        click.option("--workers", type=int, help="Workers [default: 4]."),
        click.option("--profile", type=ProfileName(several=True), metavar="PROFILE[,PROFILE]...",
                     help="Profile of the engines, or a file of `parallax calibrate`; of several "
                     "the workers get them in turn [default: llama3-8b-a100]."),
        click.option("--prefill-workers", type=int, help="Of the workers, so many only prefill."),
        *(
            click.option(f"--{kind}", type=PolicyName(kind), metavar="NAME[:KEY=VALUE...]",
                         help=_MEANINGS[kind])
            for kind in KINDS
        ),
        click.option("--set", "parameters", multiple=True, metavar="[KIND.]KEY=VALUE",
                     help="Set a parameter of a policy (of routing, if no kind is named)."),
        click.option("--slo-ttft", metavar="DURATION", help="Objective of the first token: 300ms."),
        click.option("--slo-tpot", metavar="DURATION", help="Objective per later token: 50ms."),
        click.option("--fault", "faults", multiple=True, metavar="FAULT",
                     help="What goes wrong: crash:w3@60s+30s, slow:w0*4@10s, stale:w1@5s+20s."),
        click.option("--threshold", "thresholds", multiple=True, metavar="THRESHOLD",
                     help="End with 3 unless this is met: ttft_p95<300ms, goodput>=90%."),
        click.option("--seed", type=int, help="Seed of policies and made-up load [default: 0]."),
    )):  # fmt: skip
        command = option(command)
    return command
