"""`parallax record save | check | trace` and `parallax explain`: decisions, kept and done again."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.broker.store.recording import Batch, Line, Recording, decode_line
from parallax.cli.lab_documents import Candidate, RecordingCheck, Written
from parallax.cli.leader import leader_of
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import say, show_all, show_one, write_json
from parallax.cli.silence import said_after
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput
from parallax.core.model import check_name, check_number
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
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
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def save(
    redis: str | None,
    cell: str,
    home: Path | None,
    file: Path,
    duration_s: float | None,
    as_json: bool,
) -> None:
    """Record a running cell into FILE.

    The leader begins anew, as a new one would, so that all it knows at first is in the recording.
    """
    if duration_s is not None:
        check_number("--duration", duration_s, 0.1, 86_400.0)
    clock = SystemClock()
    url = server_url(redis, home)
    link = Link.to(url)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    recording, count = Recording(link, Keys(cell), name), 0
    ends = None if duration_s is None else clock.monotonic() + duration_s
    with Orders() as orders:
        recording.start(KEPT_MS)
        click.echo(f"recording into {file}; Ctrl-C ends it", err=True)
        with file.open("wb") as output, said_after(lambda: _leaderless(url, cell)):
            while not orders.stop.is_set() and (ends is None or clock.monotonic() < ends):
                recording.keep(KEPT_MS)
                for line in recording.take(500):
                    output.write(line + b"\n")
                    count += 1
    recording.stop()
    link.close()
    _written(file, count, "lines", as_json)


def _leaderless(url: str, cell: str) -> list[str]:
    told = f"no scheduler leads cell {cell}: there is nothing to record until one does"
    return [] if leader_of(CellAddress(cell, url)) else [told]


@record.command()
@FILE
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(file: Path, as_json: bool) -> None:
    """Decide every batch of FILE again. Exits with 1 if one came out otherwise."""
    lines = list(read(file))
    done = list(redo(lines))
    differ = [one.batch for one in done if not one.same]
    found = RecordingCheck(
        leaders=sum(not isinstance(line, Batch) for line in lines),
        batches=len(done),
        events=sum(len(one.batch.events) for one in done),
        dispatched=dispatched(lines),
        differing_batches=len(differ),
        first_differing=f"{differ[0].leader} {differ[0].number}" if differ else None,
    )
    show_one(found, as_json=as_json, title=f"Recording {file}")
    sys.exit(EXIT_FAILED if differ else 0)


@record.command()
@FILE
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="File for the trace.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def trace(file: Path, output: Path, as_json: bool) -> None:
    """Write the jobs of FILE as a trace: what if another policy had had them?

    `parallax compare TRACE --routing A,B -o DIRECTORY` answers.
    """
    from parallax.sim.traces.formats import generic

    count = generic.write(output, jobs_of(read(file)))
    _written(output, count, "jobs", as_json)


def _written(file: Path, count: int, what: str, as_json: bool) -> None:
    if as_json:
        write_json(Written(str(file), count))
    else:
        click.echo(f"{count:,} {what} written to {file}", err=True)


@click.command()
@redis_options
@click.argument("job_id", metavar="JOB")
@click.option("--record", "file", type=click.Path(path_type=Path, dir_okay=False),
              help="A recording in which the job was sent [default: what the leader told of "
              "late].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain(
    redis: str | None, cell: str, home: Path | None, job_id: str, file: Path | None, as_json: bool
) -> None:
    """Show why each worker of JOB was chosen: who could be, what spoke for whom.

    The leader tells of some ten decisions a second, the last hundred of them; a recording has all.
    """
    check_name("JOB", job_id)
    if file is None:
        _explain_told(Link.to(server_url(redis, home)), Keys(cell), job_id, as_json)
        return
    explanation = Explanation(job_id)
    for _ in redo(read(file), explanation):
        pass
    if not explanation.placements:
        say(f"parallax: {file} says nothing of where {job_id} was sent", err=True)
        sys.exit(EXIT_FAILED)
    found = [
        Candidate(
            attempt=n,
            worker=w.id,
            chosen=w.id == p.chosen,
            score=p.scores.get(w.id),
            cached_tokens=p.cached.get(w.id),
            free_slots=w.free,
            in_flight_jobs=w.in_flight,
            prefill_tokens=round(w.prefill_tokens),
            pending_cost=round(w.pending_cost),
            slowness=round(w.slowness, 2),
        )
        for n, p in enumerate(explanation.placements, start=1)
        for w in p.workers
    ]
    show_all(found, as_json=as_json, title=f"Job {job_id}")
    if not as_json:
        for n, p in enumerate(explanation.placements, start=1):
            told = f", with {p.together - 1} others in the same breath" if p.together > 1 else ""
            say(f"{n}: {p.policy}{told}: {p.why}")


def _explain_told(link: Link, keys: Keys, job_id: str, as_json: bool) -> None:
    """Show what the leader told of a job."""
    try:
        figures = Overview(link, keys).read().figures
    finally:
        link.close()
    told = [one for one in (figures.decisions if figures else ()) if one.job == job_id]
    if not told:
        say(f"parallax: the leader says nothing of where {job_id} was sent: it tells of some of "
            "the last; `parallax record save` keeps all", err=True)  # fmt: skip
        sys.exit(EXIT_FAILED)
    found = [
        Candidate(
            attempt=one.attempt,
            worker=w.worker,
            chosen=w.worker == one.chosen,
            score=w.score,
            cached_tokens=w.cached_tokens,
            free_slots=w.free,
            in_flight_jobs=w.in_flight,
            prefill_tokens=None,
            pending_cost=None,
            slowness=None,
        )
        for one in told
        for w in one.candidates
    ]
    show_all(found, as_json=as_json, title=f"Job {job_id}")
    if not as_json:
        for one in told:
            beside = f", with {one.together - 1} others" if one.together > 1 else ""
            say(f"{one.attempt}: {one.policy}{beside}, of {one.workers} workers: {one.why}")


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
