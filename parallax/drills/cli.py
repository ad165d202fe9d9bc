"""`parallax verify`: break things on purpose, and check that every promise was kept."""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from pathlib import Path

import click

from parallax.cli.files import write
from parallax.cli.lab_documents import Drills
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import start_logging
from parallax.cli.output import show_one
from parallax.core.model import check_number
from parallax.drills.drill import DrillResult, DrillSpec, run_drill
from parallax.drills.invariants import INVARIANTS
from parallax.drills.report import page
from parallax.drills.shape import drawn, pinned
from parallax.drills.stage import Cast
from parallax.services.clock import SystemClock
from parallax.services.orders import Interrupted, Orders


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True,
              help="Seed of a drill; may be given several times [default: drawn].")  # fmt: skip
@click.option("--duration", "duration_s", type=float, default=60.0, show_default=True,
              help="Seconds of faults, for each seed.")  # fmt: skip
@click.option("--rate", type=float, default=150.0, show_default=True, help="Jobs per second.")
@click.option("--pause", "pause_s", type=float, default=0.4, show_default=True,
              help="Mean seconds between two faults.")  # fmt: skip
@click.option("--fault", "kinds", multiple=True, metavar="KIND", help="Only faults of this kind.")
@click.option("--shape", "words", multiple=True, metavar="NAME|FIELD=VALUE",
              help="Pin the shape, or a part of it: small, wide, slow, workers=50 ... "
                   "[default: drawn from the seed].")  # fmt: skip
@click.option("--durability", type=click.Choice(["always", "everysec"]), default="always",
              show_default=True, help="What the server writes before it answers.")  # fmt: skip
@click.option("--gateways", type=click.IntRange(0, 16), default=2, show_default=True,
              help="Gateways, through which half of the load goes over HTTP; 0: none.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a page about all of it.")  # fmt: skip
@click.option("--logs", type=click.Path(path_type=Path, file_okay=False),
              help="Keep the logs of all processes in this directory.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(
    seeds: tuple[int, ...],
    duration_s: float,
    rate: float,
    pause_s: float,
    kinds: tuple[str, ...],
    words: tuple[str, ...],
    durability: str,
    gateways: int,
    output: Path | None,
    logs: Path | None,
    as_json: bool,
) -> None:
    """Kill, pause, cut, fill and confuse a private system under load, and check every promise.

    Starts its own server, schedulers, workers and gateways and leaves nothing behind. Half of the
    load is HTTP: streams and whole answers, bodies of up to a megabyte, clients that hang up, and
    some that ask again under an Idempotency-Key. The same seed draws
    the same shape (how many tenants and workers, how far from the server, which jobs), faults and
    jobs again; odd seeds delete nothing by hand, and then nothing may have to be repaired. A part
    of the shape that is pinned with --shape changes no other. Filling a disk takes root; without,
    that fault is left out. Exits with 1 if a promise was broken. Ctrl-C ends it early and tells of
    the drills before.
    """
    check_number("--duration", duration_s, 1.0, 86_400.0)
    check_number("--rate", rate, 1.0, 10_000.0)
    check_number("--pause", pause_s, 0.05, 3600.0)
    fixed = pinned(words)
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    start_logging()
    clock, results = SystemClock(), []
    with Orders() as orders:
        for seed in seeds or (secrets.randbelow(10**6),):
            shape = drawn(seed, fixed)
            cast = Cast(durability=durability, gateways=gateways)
            spec = DrillSpec(seed, duration_s, rate, pause_s, kinds, cast, shape)
            _say(
                f"seed {seed}: {duration_s:g} s of faults, durability {durability}; {shape.told()}"
            )
            if spec.left_out:
                _say(f"seed {seed}: {spec.left_out}")
            try:
                results.append(run_drill(spec, clock, _say, logs, orders))
            except Interrupted:
                _say(f"seed {seed}: interrupted; it proves nothing")
                break
            _tell(results[-1])
    if output is not None and results:  # the first may have been interrupted
        write(output, page(results, words))
    show_one(_summary(results), as_json=as_json, title="Promises under faults")
    passed = all(result.passed for result in results)
    sys.exit(orders.code or (0 if passed else EXIT_FAILED))


def _tell(result: DrillResult) -> None:
    for name, sentences in result.broken.items():
        says = INVARIANTS[name][0]
        _say(f"seed {result.spec.seed}: BROKEN {name}: {says}: {len(sentences)} times")
        for sentence in sentences[:5]:
            _say(f"    {sentence}")


def _summary(results: list[DrillResult]) -> Drills:
    faults = sum((result.faults for result in results), Counter[str]())
    outcomes = sum((result.outcomes for result in results), Counter[str]())
    return Drills(
        seeds=[result.spec.seed for result in results],
        faults=faults.total(),
        kinds_of_faults=len(faults),
        accepted_jobs=sum(result.accepted for result in results),
        executions=sum(result.executions for result in results),
        outcomes=dict(sorted(outcomes.items())),
        shapes=[result.spec.shape.told() for result in results],
        bodies_checked=sum(result.bodies for result in results),
        answers_checked=sum(result.answers for result in results),
        pieces_checked=sum(result.pieces for result in results),
        requests=dict(sorted(sum((r.asked for r in results), Counter[str]()).items())),
        contended_s=round(sum(result.contended_s for result in results), 1),
        keys_with_junk=len(sum((result.junk for result in results), Counter[str]())),
        longest_drain_s=round(max((result.drained_s for result in results), default=0.0), 2),
        promises=len(INVARIANTS),
        violations=sum(len(s) for result in results for s in result.broken.values()),
        broken={
            f"{result.spec.seed} {name}": sentences[0]
            for result in results
            for name, sentences in result.broken.items()
        },
        excused=sum(result.excused and bool(result.broken) for result in results),
    )


def _say(text: str) -> None:
    click.echo(text, err=True)
