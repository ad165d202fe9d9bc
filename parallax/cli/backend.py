"""`parallax backend`: the servers that workers stand in front of, and a look at one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview, WorkerState
from parallax.cli.documents import BackendFacts, BackendRow, Drained
from parallax.cli.draining import Draining, state_of
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import say, show_all, show_one, write_json
from parallax.consumers.upstream.backend import METAVAR
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.kinds import USUAL_SLOTS
from parallax.consumers.upstream.opening import checked, key_of, probed
from parallax.services.clock import SystemClock


@click.group()
def backend() -> None:
    """List the servers that workers stand in front of; look at one, drain one."""


@backend.command("list")
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """List the servers of a cell, their models and load. Exits with 1 if one is not ready."""
    link = Link.to(server_url(redis, home))
    try:
        workers = Overview(link, Keys(cell)).read().workers
    finally:
        link.close()
    found = [_row(one) for one in workers if "backend" in one.member.registration.about]
    show_all(found, as_json=as_json, title=f"Backends of cell {cell}")
    sys.exit(EXIT_FAILED if any(row.state in ("unready", "dead") for row in found) else 0)


def _row(seen: WorkerState) -> BackendRow:
    member = seen.member
    about = member.registration.about
    return BackendRow(
        worker=member.worker,
        state=state_of(seen),
        backend=str(about["backend"]),
        kind=str(about.get("kind", "")),
        models=[name for name in str(about.get("models", "")).split(",") if name],
        slots=member.registration.slots,
        running_jobs=int(member.number("running")),
        waiting_jobs=int(member.number("waiting")),
        kv_used=member.number("kv_used"),
        why=member.report.get("unready") or None,
        drained_as=member.mark,
    )


@backend.command()
@redis_options
@click.argument("name")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 86_400), default=0.0, metavar="SECONDS",
              help="Wait until what it has been given has ended, so long at most; exit with 1 if "
              "it has not.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def drain(
    redis: str | None, cell: str, home: Path | None, name: str, wait_s: float, as_json: bool
) -> None:
    """Send a worker nothing new; it ends what it has, and stays.

    NAME is a worker's id, its name without the digits, or the address of its server. This holds
    whoever leads and whatever is started again, until `undrain`.
    """
    with _draining(redis, cell, home) as marks:
        found = marks.drain(name, wait_s)
    _tell(found, as_json)
    sys.exit(EXIT_FAILED if wait_s and not found.empty else 0)


@backend.command()
@redis_options
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def undrain(redis: str | None, cell: str, home: Path | None, name: str, as_json: bool) -> None:
    """Send a drained worker jobs again. NAME is what `drain` was told."""
    with _draining(redis, cell, home) as marks:
        found = marks.undrain(name)
    _tell(found, as_json)


@contextmanager
def _draining(redis: str | None, cell: str, home: Path | None) -> Iterator[Draining]:
    link = Link.to(server_url(redis, home))
    try:
        yield Draining(link, Keys(cell), SystemClock())
    finally:
        link.close()


def _tell(found: Drained, as_json: bool) -> None:
    if as_json:
        write_json(found)
        return
    state = "drained" if found.drained else "sent jobs again"
    say(f"{found.name} is {state}" if found.changed else f"{found.name} was {state} already")
    for one in found.workers:
        say(f"{one.worker}: {one.state}, {one.jobs} jobs")


@backend.command()
@click.argument("server", metavar=METAVAR)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def probe(server: str, as_json: bool) -> None:
    """Look at a server as a worker would. Exits with 1 if it is not well."""
    wanted = checked(server)
    try:
        facts, load = probed(wanted, key_of(wanted, os.environ))
    except Failure as failure:
        say(f"parallax: {wanted.root}: {failure}", err=True)
        sys.exit(EXIT_FAILED)
    found = BackendFacts(
        backend=wanted.root,
        kind=facts.kind,
        models=list(facts.models),
        slots=wanted.slots or facts.slots or USUAL_SLOTS[facts.kind],
        kv_capacity_tokens=facts.kv_capacity or None,
        context_tokens=facts.context or None,
        running_requests=None if load.running is None else int(load.running),
        waiting_requests=None if load.waiting is None else int(load.waiting),
        kv_used=load.kv_used,
    )
    show_one(found, as_json=as_json, title=wanted.root)
