"""Describes the leader of a cell for people."""

from __future__ import annotations

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.cli.output import printable
from parallax.core.cells import CellAddress


def leader_name(token: bytes | None) -> str | None:
    """Return the name in the leader's token, without the epoch; None if nobody leads."""
    if token is None:
        return None
    return printable(token.decode("utf-8", "replace").partition("|")[0])


def leader_of(place: CellAddress) -> str | None:
    """Return who leads a cell; None if nobody does."""
    link = Link.to(place.url)
    try:
        return leader_name(link.call("GET", Keys(place.name).leader))
    finally:
        link.close()
