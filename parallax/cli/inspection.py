"""`parallax status | get | tenants | workers`: looking, and setting weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from parallax.broker.connection import Link
from parallax.broker.keys import Keys
from parallax.broker.membership import Membership
from parallax.broker.misfits import names_of
from parallax.broker.results import Results
from parallax.broker.tenancy import Tenancy
from parallax.cli.cells import ask_each, exit_code, leader_name
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import facts, say, show
from parallax.cli.where import Where, as_option, cells_options, speaking_for
from parallax.core.errors import StoreFull
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
        ((cell, pairs),) = seen.items()
        facts(pairs or {}, as_json=as_json, title=f"Cell {cell}")
        return
    together: dict[str, int] = {}
    for pairs in seen.values():
        for name, value in (pairs or {}).items():
            if isinstance(value, int):
                together[name] = together.get(name, 0) + value
    names = ["leader", *together]
    rows = [
        (name, *((pairs or {}).get(name) for pairs in seen.values()), together.get(name))
        for name in names
    ]
    show({"cells": seen, "all": together}, as_json=as_json, title="Cells",
         head=("", *seen, "all"), rows=rows)  # fmt: skip
    sys.exit(exit_code(seen))


def _state(link: Link, keys: Keys) -> dict[str, Any]:
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
    members = [m for m in Membership(link, keys).members() if m.alive]
    return {
        "leader": leader_name(leader),
        "workers": len(members),
        "open jobs": opened,
        "waiting": waiting,
        "active tenants": len(active),
        "dead letters": dead,
        **{f"total {word}": count for word, count in sorted(Results(link, keys).counts().items())},
    }


@click.command()
@cells_options
@as_option
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def get(where: Where, speaker: str | None, job_id: str, as_json: bool) -> None:
    """Show the record of a job. Exits with 1 if there is none (any more)."""
    check_name("JOB", job_id)
    client = where.connect()
    try:
        record = speaking_for(speaker, client).records([job_id])[0]
    finally:
        client.close()
    if record is None:
        say(f"parallax: there is no record of {job_id}; it may have expired", err=True)
        sys.exit(EXIT_FAILED)
    report = record.report
    facts(
        {
            "id": record.job_id,
            "tenant": record.tenant,
            "state": record.state.value,
            "attempts": record.attempts,
            "session": record.session or None,
            "worker": record.worker or None,
            "prompt tokens": record.prompt_tokens,
            "max tokens": record.max_tokens,
            "output tokens": report.output_tokens,
            "cached tokens": report.cached_tokens,
            "queue wait (s)": record.queue_wait_s,
            "ttft (s)": record.ttft_s,
            "e2e (s)": record.e2e_s,
            "error": report.error or None,
        },
        as_json=as_json,
        title=f"Job {job_id}",
    )


@click.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def workers(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """List the registered workers."""
    link, keys = Link.to(server_url(redis, home)), Keys(cell)
    rows = [
        (
            m.worker,
            "draining" if m.number("draining") else "alive" if m.alive else "dead",
            m.registration.engine,
            m.registration.slots,
            int(m.number("running")),
            int(m.number("waiting")),
            m.number("kv_used"),
            int(m.number("completed")),
            " ".join(f"{name}={value}" for name, value in m.registration.about.items()),
        )
        for m in Membership(link, keys).members()
    ]
    link.close()
    head = ("worker", "state", "engine", "slots", "running", "waiting", "kv", "completed", "about")
    document = [dict(zip(head, row, strict=True)) for row in rows]
    show(document, as_json=as_json, title=f"Workers of cell {cell}", head=head, rows=rows)


@click.group()
def tenants() -> None:
    """List tenants, set their weights."""


@tenants.command("list")
@cells_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(where: Where, as_json: bool) -> None:
    """List tenants with a weight or with waiting jobs. Exits with 1 if one of several is silent."""
    seen = ask_each(where.places(), _tenants)
    several = len(seen) > 1
    head = ("tenant", "cell", "weight", "waiting") if several else ("tenant", "weight", "waiting")
    rows = [
        (tenant, cell, *rest) if several else (tenant, *rest)
        for cell, found in seen.items()
        for tenant, *rest in found or ()
    ]
    document = [dict(zip(head, row, strict=True)) for row in rows]
    title = f"Tenants of cell {', '.join(seen)}"
    show(document, as_json=as_json, title=title, head=head, rows=rows)
    sys.exit(exit_code(seen))


def _tenants(link: Link, keys: Keys) -> list[tuple[str, float, int]]:
    weights = Tenancy(link, keys).weights()
    active = set(names_of(link.call("SMEMBERS", keys.active))[0])
    names = sorted(weights.keys() | active)
    depths = link.calls([("XLEN", keys.arrivals(name)) for name in names]) if names else []
    return [(n, weights.get(n, 1.0), depth) for n, depth in zip(names, depths, strict=True)]


@tenants.command("set")
@cells_options
@click.argument("tenant")
@click.option("--weight", type=float, required=True, help="Shares it is due (others have 1).")
def set_(where: Where, tenant: str, weight: float) -> None:
    """Set the weight of a tenant in its cell; a running scheduler takes it over within a second."""
    client = where.connect()
    try:
        client.set_weights({tenant: weight})
    finally:
        client.close()
