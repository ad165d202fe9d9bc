"""`parallax record save | check | trace` and `parallax explain`: decisions, kept and done again."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from parallax.broker.connection import Link
from parallax.broker.keys import Keys
from parallax.broker.recording import Batch, Line, Recording, decode_line
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import facts, say, show
from parallax.core.errors import InvalidInput
from parallax.core.model import check_name, check_number
from parallax.services import service
from parallax.services.clock import SystemClock
from parallax.services.replay import Explanation, dispatched, jobs_of, redo

KEPT_MS = 5_000  # the leader stops recording when nobody asked for it for so long
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def record() -> None:
    """Keep what the leader was told and decided; do it again offline."""


@record.command()
@redis_options
@FILE
@click.option("--duration", "duration_s", type=float, help="Seconds [default: until Ctrl-C].")
def save(
    redis: str | None, cell: str, home: Path | None, file: Path, duration_s: float | None
) -> None:
    """Record a running cell into FILE.

    The leader begins anew, as a new one would, so that all it knows at first is in the recording.
    """
    if duration_s is not None:
        check_number("--duration", duration_s, 0.1, 86_400.0)
    clock, stop = SystemClock(), threading.Event()
    link = Link.to(server_url(redis, home))
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    recording, count = Recording(link, Keys(cell), name), 0
    service.stop_on_signals(stop.set, stop.set)
    ends = None if duration_s is None else clock.monotonic() + duration_s
    recording.start(KEPT_MS)
    click.echo(f"recording into {file}; Ctrl-C ends it", err=True)
    with file.open("wb") as output:
        while not stop.is_set() and (ends is None or clock.monotonic() < ends):
            recording.keep(KEPT_MS)
            for line in recording.take(500):
                output.write(line + b"\n")
                count += 1
    recording.stop()
    link.close()
    click.echo(f"{count} lines written to {file}", err=True)


@record.command()
@FILE
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(file: Path, as_json: bool) -> None:
    """Decide every batch of FILE again. Exits with 1 if one came out otherwise."""
    lines = list(read(file))
    done = list(redo(lines))
    differ = [one.batch for one in done if not one.same]
    pairs: dict[str, object] = {
        "leaders": sum(not isinstance(line, Batch) for line in lines),
        "batches": len(done),
        "events": sum(len(one.batch.events) for one in done),
        "attempts sent": dispatched(lines),
        "batches decided otherwise": len(differ),
        "first of them": f"{differ[0].leader} {differ[0].number}" if differ else None,
    }
    facts(pairs, as_json=as_json, title=f"Recording {file}")
    sys.exit(EXIT_FAILED if differ else 0)


@record.command()
@FILE
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="File for the trace.")  # fmt: skip
def trace(file: Path, output: Path) -> None:
    """Write the jobs of FILE as a trace: what if another policy had had them?

    `parallax compare TRACE --vary routing=...` answers.
    """
    from parallax.sim.traces import generic

    count = generic.write(output, jobs_of(read(file)))
    click.echo(f"{count:,} jobs written to {output}", err=True)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--record", "file", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="A recording in which the job was sent.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain(job_id: str, file: Path, as_json: bool) -> None:
    """Show why each worker of JOB was chosen: who could be, what spoke for whom."""
    check_name("JOB", job_id)
    explanation = Explanation(job_id)
    for _ in redo(read(file), explanation):
        pass
    if not explanation.placements:
        say(f"parallax: {file} says nothing of where {job_id} was sent", err=True)
        sys.exit(EXIT_FAILED)
    head = ("attempt", "worker", "chosen", "score", "cached", "free", "in flight", "prefill",
            "pending cost", "slowness")  # fmt: skip
    rows = [
        (
            n, w.id, "yes" if w.id == p.chosen else "", p.scores.get(w.id), p.cached.get(w.id),
            w.free, w.in_flight, round(w.prefill_tokens), round(w.pending_cost),
            round(w.slowness, 2),
        )
        for n, p in enumerate(explanation.placements, start=1)
        for w in p.workers
    ]  # fmt: skip
    document = [dict(zip(head, row, strict=True)) for row in rows]
    show(document, as_json=as_json, title=f"Job {job_id}", head=head, rows=rows)
    if not as_json:
        for n, p in enumerate(explanation.placements, start=1):
            told = f", with {p.together - 1} others in the same breath" if p.together > 1 else ""
            say(f"{n}: {p.policy}{told}: {p.why}")


def read(file: Path) -> Iterator[Line]:
    """Yield the lines of a recording; raises InvalidInput naming the line."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield decode_line(line)
                except InvalidInput as error:
                    where = f"{file}, line {number}"
                    raise InvalidInput(where, line[:40], error.allowed) from None
    except OSError as error:
        raise InvalidInput("FILE", str(file), f"must be readable ({error.strerror})") from None
