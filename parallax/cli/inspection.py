"""`parallax status | get | tenants | workers`: looking, and setting weights."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member, Membership
from parallax.broker.store.misfits import names_of
from parallax.broker.store.results import Record, Results
from parallax.broker.store.tenancy import Tenancy
from parallax.cli.answers import document, write_answer
from parallax.cli.cells import ask_each, exit_code
from parallax.cli.documents import (
    CellsStatus,
    CellStatus,
    JobRecord,
    TenantRow,
    TenantWeight,
    WorkerRow,
)
from parallax.cli.leader import leader_name
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import say, show, show_all, show_one, write_json
from parallax.cli.where import Where, as_option, cells_options, speaking_for
from parallax.core.errors import StoreFull
from parallax.core.lifecycle import Outcome
from parallax.core.model import check_name


@click.command()
@cells_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(where: Where, as_json: bool) -> None:
    """Show what waits, what runs, who serves, and the totals; of several cells side by side.

    Exits with 1 if one of several cells is silent.
    """
    seen = ask_each(where.places(), _state)
    if len(seen) == 1:
        for found in seen.values():
            if found is not None:
                show_one(found, as_json=as_json, title=f"Cell {found.cell}")
        return
    together = _sum(seen)
    head = ("", *seen, "all")
    columns = [*seen.values(), together]
    names = ["leader", *_SUMMED]
    rows = [[name, *(getattr(one, name, None) for one in columns)] for name in names]
    rows += [
        [f"totals.{word}", *(one.totals.get(word, 0) if one else None for one in columns)]
        for word in together.totals
    ]
    show(together, as_json=as_json, title="Cells", head=head, rows=rows)
    sys.exit(exit_code(seen))


_SUMMED = ("workers", "open_jobs", "waiting_jobs", "active_tenants", "dead_letters")


def _sum(seen: Mapping[str, CellStatus | None]) -> CellsStatus:
    cells = [found for found in seen.values() if found is not None]
    totals: Counter[str] = Counter()
    for found in cells:
        totals.update(found.totals)
    return CellsStatus(
        cells=cells,
        silent=[cell for cell, found in seen.items() if found is None],
        totals=dict(sorted(totals.items())),
        **{name: sum(getattr(found, name) for found in cells) for name in _SUMMED},
    )


def _state(link: Link, keys: Keys) -> CellStatus:
    try:
        link.call("PING")
    except StoreFull as full:  # reads are served all the same
        say(f"parallax: {full}", err=True)
    leader, opened, active, dead = link.calls(
        [
            ("GET", keys.leader),
            ("ZCARD", keys.open),
            ("SMEMBERS", keys.active),
            ("XLEN", keys.dead),
        ]
    )
    names = sorted(names_of(active)[0])[:1000]
    waiting = sum(link.calls([("XLEN", keys.arrivals(name)) for name in names])) if names else 0
    return CellStatus(
        cell=keys.cell,
        leader=leader_name(leader),
        workers=sum(member.alive for member in Membership(link, keys).members()),
        open_jobs=opened,
        waiting_jobs=waiting,
        active_tenants=len(active),
        dead_letters=dead,
        totals=dict(sorted(Results(link, keys).counts().items())),
    )


@click.command()
@cells_options
@as_option
@click.argument("job_id", metavar="JOB")
@click.option("--answer", "answered", is_flag=True, help="Write its answer, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def get(where: Where, speaker: str | None, job_id: str, answered: bool, as_json: bool) -> None:
    """Show the record of a job, or its answer, if it was to be kept (`submit --detach`).

    Exits with 1 if there is none (any more).
    """
    check_name("JOB", job_id)
    client, answer = where.connect(), None
    try:
        door = speaking_for(speaker, client)
        record = door.records([job_id])[0]
        if record is not None and answered:
            answer = door.answers([job_id])[0]
    finally:
        client.close()
    if record is None:
        say(f"parallax: there is no record of {job_id}; it may have expired", err=True)
        sys.exit(EXIT_FAILED)
    if answered and answer is None:
        say(f"parallax: no answer of {job_id} is kept: it {_why_none(record)}", err=True)
    if answered and not as_json:
        if answer is not None:
            write_answer(answer)
        sys.exit(EXIT_FAILED if answer is None else 0)
    report = record.report
    found = JobRecord(
        id=record.job_id,
        tenant=record.tenant,
        state=cast("Any", record.state.value),
        attempts=record.attempts,
        session=record.session or None,
        worker=record.worker or None,
        prompt_tokens=record.prompt_tokens,
        max_tokens=record.max_tokens,
        output_tokens=report.output_tokens,
        cached_tokens=report.cached_tokens,
        queue_wait_s=record.queue_wait_s,
        ttft_s=record.ttft_s,
        e2e_s=record.e2e_s,
        error=report.error or None,
        reason=report.reason or None,
        answer=document(answer or b""),
    )
    show_one(found, as_json=as_json, title=f"Job {job_id}", without=("answer",))
    sys.exit(EXIT_FAILED if answered and answer is None else 0)


def _why_none(record: Record) -> str:
    if record.outcome is None:
        return f"has not ended ({record.state.value})"
    if record.outcome is not Outcome.COMPLETED:
        return record.outcome.value
    return "was not submitted with --detach, or its engine makes no text"


@click.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def workers(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """List the registered workers."""
    link, keys = Link.to(server_url(redis, home)), Keys(cell)
    found = [_worker(member) for member in Membership(link, keys).members()]
    link.close()
    show_all(found, as_json=as_json, title=f"Workers of cell {cell}")


def _worker(member: Member) -> WorkerRow:
    return WorkerRow(
        worker=member.worker,
        state=state_of(member),
        engine=member.registration.engine,
        slots=member.registration.slots,
        running_jobs=int(member.number("running")),
        waiting_jobs=int(member.number("waiting")),
        kv_used=member.number("kv_used"),
        completed_jobs=int(member.number("completed")),
        about=dict(member.registration.about),
    )


def state_of(member: Member) -> Literal["alive", "unready", "draining", "dead"]:
    """Return how a worker is; one that is not ready is sent nothing, as one that drains."""
    if not member.alive:
        return "dead"
    if member.report.get("unready"):
        return "unready"
    return "draining" if member.number("draining") else "alive"


@click.group()
def tenants() -> None:
    """List tenants, set their weights."""


@tenants.command("list")
@cells_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(where: Where, as_json: bool) -> None:
    """List tenants with a weight or with waiting jobs. Exits with 1 if one of several is silent."""
    seen = ask_each(where.places(), _tenants)
    found = [row for rows in seen.values() for row in rows or ()]
    show_all(found, as_json=as_json, title=f"Tenants of cell {', '.join(seen)}")
    sys.exit(exit_code(seen))


def _tenants(link: Link, keys: Keys) -> list[TenantRow]:
    weights = Tenancy(link, keys).weights()
    active = set(names_of(link.call("SMEMBERS", keys.active))[0])
    names = sorted(weights.keys() | active)
    depths = link.calls([("XLEN", keys.arrivals(name)) for name in names]) if names else []
    return [
        TenantRow(tenant=name, cell=keys.cell, weight=weights.get(name, 1.0), waiting_jobs=depth)
        for name, depth in zip(names, depths, strict=True)
    ]


@tenants.command("set")
@cells_options
@click.argument("tenant")
@click.option("--weight", type=float, required=True, help="Shares it is due (others have 1).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def set_(where: Where, tenant: str, weight: float, as_json: bool) -> None:
    """Set the weight of a tenant in its cell; a running scheduler takes it over within a second."""
    client = where.connect()
    try:
        client.set_weights({tenant: weight})
    finally:
        client.close()
    if as_json:
        write_json(TenantWeight(tenant, weight))
