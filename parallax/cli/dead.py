"""`parallax dead`: jobs that used up their attempts, and entries nobody could understand."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.dead_letters import DeadLetter, DeadLetters
from parallax.broker.store.keys import Keys
from parallax.cli.documents import Dead, Purged, Requeued
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import say, show, write_json
from parallax.core.errors import InvalidInput

_SHOWN = 60  # characters of a sample in the list
names = click.argument("wanted", nargs=-1, required=True, metavar="ENTRY|JOB...")


@click.group()
def dead() -> None:
    """Look at dead letters, offer their jobs again, remove them."""


@dead.command("list")
@redis_options
@click.option("--count", type=click.IntRange(1, 100_000), default=50, show_default=True,
              help="Show so many of the newest.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(redis: str | None, cell: str, home: Path | None, count: int, as_json: bool) -> None:
    """List the newest dead letters."""
    with _letters(redis, cell, home) as letters:
        _shown(letters.newest(count), as_json, cell, _SHOWN)


@dead.command("show")
@redis_options
@names
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show_(
    redis: str | None, cell: str, home: Path | None, wanted: tuple[str, ...], as_json: bool
) -> None:
    """Show dead letters whole, by entry or by job."""
    with _letters(redis, cell, home) as letters:
        _shown(letters.find(wanted), as_json, cell, None)


@dead.command()
@redis_options
@names
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def requeue(
    redis: str | None, cell: str, home: Path | None, wanted: tuple[str, ...], as_json: bool
) -> None:
    """Offer jobs once more, as new jobs, and remove their letters.

    A job has one end; a requeued one has an id of its own, which is printed. Doing it twice gives
    one job. Exits with 1 if one was not accepted.
    """
    with _letters(redis, cell, home) as letters:
        found = [_requeued(letters, letter) for letter in letters.find(wanted)]
    if as_json:
        write_json(found)
    for one in () if as_json else found:
        if one.error is None:
            say(f"{one.job} again as {one.successor}")
        else:
            say(f"{one.job or one.entry} not: {one.error}", err=True)
    sys.exit(EXIT_FAILED if any(one.error for one in found) else 0)


def _requeued(letters: DeadLetters, letter: DeadLetter) -> Requeued:
    try:
        error = letters.requeue(letter).error()
    except InvalidInput as refusal:
        error = refusal
    if error is None:
        return Requeued(letter.entry, letter.job, letter.successor, None)
    return Requeued(letter.entry, letter.job, None, str(error))


@dead.command()
@redis_options
@click.argument("wanted", nargs=-1, metavar="[ENTRY|JOB]...")
@click.option("--all", "everything", is_flag=True, help="Remove all of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def purge(
    redis: str | None,
    cell: str,
    home: Path | None,
    wanted: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Remove dead letters. The records of their jobs stay as long as they would."""
    if everything == bool(wanted):
        raise InvalidInput("ENTRY|JOB", wanted, "either some of them, or --all")
    with _letters(redis, cell, home) as letters:
        gone = letters.purge(None if everything else letters.find(wanted))
    if as_json:
        write_json(Purged(gone))
    else:
        click.echo(f"{gone} removed")


@contextmanager
def _letters(redis: str | None, cell: str, home: Path | None) -> Iterator[DeadLetters]:
    link = Link.to(server_url(redis, home))
    try:
        yield DeadLetters(link, Keys(cell))
    finally:
        link.close()


def _shown(letters: list[DeadLetter], as_json: bool, cell: str, most: int | None) -> None:
    document = [Dead(at=letter.at, **dataclasses.asdict(letter)) for letter in letters]
    rows = [
        (
            letter.entry,
            datetime.fromtimestamp(letter.at, UTC).isoformat(" ", "seconds"),
            letter.job or letter.stream,
            letter.why,
            letter.sample[:most],
        )
        for letter in letters
    ]
    head = ("entry", "when", "job or stream", "why", "sample")
    show(document, as_json=as_json, title=f"Dead letters of cell {cell}", head=head, rows=rows)
