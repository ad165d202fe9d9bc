"""`parallax cells`: which there are and where tenants live; and asking one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.cli.documents import CellRow, Home
from parallax.cli.main import EXIT_FAILED
from parallax.cli.output import printable, say, show_all
from parallax.cli.where import Where, cells_options
from parallax.core.cells import CellAddress, home
from parallax.core.errors import Unreachable
from parallax.core.model import check_name
from parallax.core.secrets import redacted

T = TypeVar("T")


def ask_each(places: Sequence[CellAddress], ask: Callable[[Link, Keys], T]) -> dict[str, T | None]:
    """Ask cells; None stands for one that does not answer, of which stderr tells.

    Raises Unreachable if none answers.
    """
    answers: dict[str, T | None] = {}
    errors: list[Unreachable] = []
    for place in places:
        link = Link.to(place.url)
        try:
            answers[place.name] = ask(link, Keys(place.name))
        except Unreachable as error:
            answers[place.name] = None
            errors.append(error if len(places) == 1 else Unreachable(f"cell {place.name}: {error}"))
        finally:
            link.close()
    if len(errors) == len(places):
        raise errors[0]
    for silent in errors:
        say(f"parallax: {redacted(str(silent))}", err=True)
    return answers


def exit_code(answers: Mapping[str, object]) -> int:
    """Return the exit code of a command that asked each cell: 1 if one did not answer."""
    return EXIT_FAILED if None in answers.values() else 0


@click.command()
@cells_options
@click.argument("tenants", nargs=-1, metavar="[TENANT]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def cells(where: Where, tenants: tuple[str, ...], as_json: bool) -> None:
    """List the cells: leader, number of workers, open jobs. Exits with 1 if one is silent.

    With TENANT it says where these live instead; that needs no server.
    """
    for tenant in tenants:
        check_name("tenant", tenant)
    if tenants:
        weights = {place.name: place.weight for place in where.named}
        homes = [Home(tenant=tenant, cell=home(tenant, weights)) for tenant in tenants]
        show_all(homes, as_json=as_json, title="Homes")
        return
    places = where.places()
    answers = ask_each(places, _looked)
    found = [
        CellRow(
            place.name, redacted(place.url), place.weight, seen is not None, *(seen or _NOTHING)
        )
        for place, seen in zip(places, answers.values(), strict=True)
    ]
    show_all(found, as_json=as_json, title="Cells")
    sys.exit(exit_code(answers))


_NOTHING = (None, None, None)


def _looked(link: Link, keys: Keys) -> tuple[str | None, int, int]:
    seen = Overview(link, keys).read()
    leader = None if seen.leader is None else printable(seen.leader.name)
    return leader, len(seen.alive), seen.open_jobs
