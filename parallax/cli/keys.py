"""`parallax keys`: who may ask a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec.structs import replace

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import ASK, SCOPES, ApiKey, Keyring, id_of, new_key
from parallax.broker.store.keys import Keys
from parallax.cli.documents import KeyMade, KeyRevoked, KeyRow
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import say, show, write_json
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput
from parallax.services.clock import SystemClock

_HOUR_S = 3600.0
#: How long a key that was rotated is still good, if nobody says otherwise (hours).
_GRACE_H = 24.0


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate API keys of gateways.

    A gateway learns of changes within two seconds. Without any key it is open to its own machine.
    """


@keys.command()
@redis_options
@click.option("--tenant", required=True, help="The tenant that the key speaks for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=[ASK],
              show_default=True, help="What it may do: ask; speak for tenants that requests name; "
              "administer. May be given several times.")  # fmt: skip
@click.option("--model", "models", multiple=True, metavar="NAME",
              help="A model that it may use, one or more times [default: all].")  # fmt: skip
@click.option("--hours", type=float, help="How long it is good [default: until it is revoked].")
@click.option("--from-env", "variable", metavar="VARIABLE", help="Store the key that this variable "
              "of the environment holds, and show nothing: one key for several cells, or from a "
              "store of secrets. May be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def create(
    redis: str | None, cell: str, home: Path | None, tenant: str, scopes: tuple[str, ...],
    models: tuple[str, ...], hours: float | None, variable: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a key and show it, this once. Only a digest of it is stored."""
    life_s = None if hours is None else hours * _HOUR_S
    given = None if variable is None else _given(variable)
    token, key = new_key(
        tenant, SystemClock().now(), scopes=scopes, models=models, life_s=life_s, token=given
    )  # fmt: skip
    with _ring(redis, cell, home) as ring:
        ring.put({_id(token): key})
    if given is None:
        _tell(token, key, as_json)
    elif as_json:
        write_json(KeyMade(_id(token), None, key.tenant, key.expires))
    else:
        say(f"id {_id(token)} is stored")


def _given(variable: str) -> str:
    """Return the key in a variable; raises InvalidInput, which quotes none of it."""
    token = os.environ.get(variable, "")
    if id_of(token) is None:
        what = "a value that is no key" if token else "nothing"
        allowed = "a variable that holds plx-, 12 hexadecimal digits, -, 43 of A-Z a-z 0-9 - _"
        raise InvalidInput("--from-env", f"{variable} ({what})", allowed)
    return token


@keys.command("list")
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """List the keys by their ids."""
    with _ring(redis, cell, home) as ring:
        rows = _rows(ring.known(), SystemClock())
    shown = [
        (row.id, row.tenant, row.state, " ".join(row.scopes), " ".join(row.models) or "all",
         _day(row.created_at), _day(row.expires_at))
        for row in rows
    ]  # fmt: skip
    head = ("id", "tenant", "state", "scopes", "models", "created", "expires")
    show(rows, as_json=as_json, title=f"API keys of cell {cell}", head=head, rows=shown)


@keys.command()
@redis_options
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def revoke(
    redis: str | None, cell: str, home: Path | None, ids: tuple[str, ...], as_json: bool
) -> None:
    """Revoke keys. Exits with 1 if one is not known."""
    with _ring(redis, cell, home) as ring:
        found = [KeyRevoked(id_, ring.revoke(id_)) for id_ in ids]
        left = ring.any()
    if as_json:
        write_json(found)
    for one in () if as_json else found:
        say(f"{one.id} {'revoked' if one.revoked else 'is not known'}", err=not one.revoked)
    if not left:
        said = "no key is left: gateways on loopback addresses are open to their machines"
        click.echo(said, err=True)
    sys.exit(0 if all(one.revoked for one in found) else EXIT_FAILED)


@keys.command()
@redis_options
@click.argument("id_", metavar="ID")
@click.option("--hours", type=click.FloatRange(0.0, 24 * 366), default=_GRACE_H, show_default=True,
              help="How long the old key is still good.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def rotate(
    redis: str | None, cell: str, home: Path | None, id_: str, hours: float, as_json: bool
) -> None:
    """Make a key that may do what another one may, which is good for a while longer."""
    now = SystemClock().now()
    with _ring(redis, cell, home) as ring:
        old = ring.known().get(id_)
        if old is None:
            raise InvalidInput("ID", id_, "an id that `parallax keys list` shows")
        token, key = new_key(old.tenant, now, scopes=old.scopes, models=old.models)
        until = min(now + hours * _HOUR_S, old.expires or float("inf"))
        ring.put({_id(token): key, id_: replace(old, expires=until)})
    _tell(token, key, as_json)


def _id(token: str) -> str:
    return token.split("-")[1]


def _tell(token: str, key: ApiKey, as_json: bool) -> None:
    """Show a key: the only time that anybody sees it."""
    if as_json:
        write_json(KeyMade(_id(token), token, key.tenant, key.expires))
        return
    say(token)
    click.echo(f"id {_id(token)}; it is not stored and will not be shown again", err=True)


def _rows(known: dict[str, ApiKey], clock: Clock) -> list[KeyRow]:
    now = clock.now()
    return [
        KeyRow(
            id_, key.tenant, "expired" if key.has_expired(now) else "good",
            list(key.scopes), list(key.models), key.created, key.expires,
        )
        for id_, key in known.items()
    ]  # fmt: skip


def _day(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")


@contextmanager
def _ring(redis: str | None, cell: str, home: Path | None) -> Iterator[Keyring]:
    link = Link.to(server_url(redis, home))
    try:
        yield Keyring(link, Keys(cell))
    finally:
        link.close()
