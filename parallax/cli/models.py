"""`parallax models`, and a look at the models before a job for one is submitted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member, Membership, models_of
from parallax.broker.store.overview import Overview, WorkerState
from parallax.cli.documents import ModelRow
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import show_all
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput, StoreFault, Unreachable

#: Most names that an error tells.
_SOME = 20


@click.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def models(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """List the models that the workers of a cell serve, and which of them do.

    Exits with 1 if no worker is ready for one of them. Aliases are a gateway's own.
    """
    link = Link.to(server_url(redis, home))
    try:
        workers = Overview(link, Keys(cell)).read().workers
    finally:
        link.close()
    rows = _rows(workers)
    show_all(rows, as_json=as_json, title=f"Models of cell {cell}")
    sys.exit(0 if all(row.ready for row in rows) else EXIT_FAILED)


def _rows(workers: Sequence[WorkerState]) -> list[ModelRow]:
    serving: dict[str, list[WorkerState]] = {}
    for one in workers:
        for name in filter(None, models_of(one.member.registration)):
            serving.setdefault(name, []).append(one)
    return [_row(name, serving[name]) for name in sorted(serving)]


def _row(name: str, workers: Sequence[WorkerState]) -> ModelRow:
    ready = [one for one in workers if one.state == "alive"]
    return ModelRow(
        name,
        [one.name for one in workers],
        len(ready),
        sum(one.member.registration.slots for one in ready),
        sum(int(one.member.number("running")) for one in workers),
        sum(int(one.member.number("waiting")) for one in workers),
    )


def check_served(model: str, places: Sequence[CellAddress]) -> None:
    """Raise InvalidInput for a model that no worker of these cells serves, or did lately.

    Where there is no worker yet, or this user may not look at them, nobody can tell: it is let by.
    """
    known: set[str] = set()
    for place in places if model else ():
        link = Link.to(place.url)
        try:
            members = Membership(link, Keys(place.name)).members()
        except (StoreFault, Unreachable):  # the role `producer` may not see workers
            return
        finally:
            link.close()
        if not members:
            return
        known |= set(_names(members))
    if model and model not in known:
        names = ", ".join(sorted(known)[:_SOME])
        raise InvalidInput("--model", model, f"one of: {names} (or say --unserved)")


def _names(members: Iterable[Member]) -> Iterable[str]:
    for member in members:
        yield from filter(None, models_of(member.registration))
