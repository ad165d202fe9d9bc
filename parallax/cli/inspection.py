"""`parallax status | get | tenants | workers`: looking, and setting weights."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import CellState, Overview, WorkerState
from parallax.broker.store.results import Record
from parallax.broker.store.scaling import ScalingStore
from parallax.cli.answers import document, write_answer
from parallax.cli.cell_documents import CellsStatus, CellStatus, TenantRow, WorkerRow
from parallax.cli.cells import ask_each, exit_code
from parallax.cli.documents import JobRecord, TenantWeight
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import printable, say, show, show_all, show_one, write_json
from parallax.cli.where import Where, as_option, cells_options, speaking_for
from parallax.core.errors import StoreFull
from parallax.core.lifecycle import Outcome
from parallax.core.model import check_name
from parallax.core.trace import trace_id


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
        if not as_json:
            for told in ask_each(where.places(), _scaling).values():
                if told:
                    say(f"autoscaler: {told}")
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


def _scaling(link: Link, keys: Keys) -> str:
    """Return what the autoscaler decided last, and when; "" if there is none."""
    record = ScalingStore(link, keys).record()
    if record is None:
        return ""
    seconds, micros = link.call("TIME")
    age_s = max(0.0, int(seconds) + int(micros) / 1e6 - record.at)
    dry = ", a dry run" if record.dry_run else ""
    return f"{record.text} ({age_s:.0f} s ago{dry})"


def _state(link: Link, keys: Keys) -> CellStatus:
    try:
        link.call("PING")
    except StoreFull as full:  # reads are served all the same
        say(f"parallax: {full}", err=True)
    seen = Overview(link, keys).read()
    return CellStatus(
        cell=keys.cell,
        leader=None if seen.leader is None else printable(seen.leader.name),
        workers=len(seen.alive),
        open_jobs=seen.open_jobs,
        waiting_jobs=seen.waiting_jobs,
        active_tenants=seen.tenants_active,
        dead_letters=seen.dead_letters,
        totals=dict(sorted(seen.totals.items())),
        completed_per_s=None if seen.stale else seen.rates.get("completed", 0.0),
        ttft_p95_s=_p95(seen, "ttft_s"),
        e2e_p95_s=_p95(seen, "e2e_s"),
    )


def _p95(seen: CellState, name: str) -> float | None:
    sketch = None if seen.stale else seen.sketches.get(name)
    return None if sketch is None else sketch.quantiles([0.95])[0]


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
        assigned_s=_since(record, record.assigned),
        hedge_worker=record.hedge.worker if record.hedge else None,
        hedged_s=_since(record, record.hedge.assigned if record.hedge else None),
        trace_id=trace_id(record.trace) or None,
        answer=document(answer or b""),
    )
    show_one(found, as_json=as_json, title=f"Job {job_id}", without=("answer",))
    sys.exit(EXIT_FAILED if answered and answer is None else 0)


def _since(record: Record, at: float | None) -> float | None:
    return None if at is None else round(at - record.accepted, 3)


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
    link = Link.to(server_url(redis, home))
    try:
        seen = Overview(link, Keys(cell)).read()
    finally:
        link.close()
    show_all([_worker(one) for one in seen.workers], as_json=as_json,
             title=f"Workers of cell {cell}")  # fmt: skip


def _worker(seen: WorkerState) -> WorkerRow:
    member = seen.member
    return WorkerRow(
        worker=member.worker,
        state=seen.state,
        engine=member.registration.engine,
        slots=member.registration.slots,
        running_jobs=int(member.number("running")),
        waiting_jobs=int(member.number("waiting")),
        kv_used=member.number("kv_used"),
        completed_jobs=int(member.number("completed")),
        about=dict(member.registration.about),
    )


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
    return [
        TenantRow(tenant=one.name, cell=keys.cell, weight=one.weight, waiting_jobs=one.waiting_jobs)
        for one in Overview(link, keys).tenants()
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
