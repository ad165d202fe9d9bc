"""`parallax acl`: users for Redis, one for each role."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from parallax.broker.store.access import ROLES, acl_file, user_name, worker_role
from parallax.cli.documents import AclDocument, AclUser
from parallax.cli.output import write_json
from parallax.core.errors import InvalidInput
from parallax.core.model import check_name


@click.command()
@click.option("--cell", envvar="PARALLAX_CELL", default="main", show_default=True,
              help="Name of the cell that the users may touch.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False),
              help="A new directory for the file and the passwords.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--worker", "workers", multiple=True, metavar="NAME",
              help="Also a user for the workers of this --name, who can reach no others' "
              "heartbeats and streams. May be given several times.")  # fmt: skip
def acl(cell: str, output: Path, as_json: bool, workers: tuple[str, ...]) -> None:
    """Write an ACL file with a user for each role, and a password for each, into a new directory.

    The file has hashes only. Each password is in a file of its own that only you can read:
    redis://USER:PASSWORD@HOST is then the URL of that role, given in PARALLAX_REDIS.
    """
    check_name("--cell", cell)
    roles = [*ROLES, *(worker_role(name).name for name in dict.fromkeys(workers))]
    try:
        output.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise InvalidInput("--output", str(output), f"a new directory ({error.strerror})") from None
    passwords = {role: secrets.token_urlsafe(24) for role in roles}
    for role, password in passwords.items():
        _write_private(output / f"{role}.password", password + "\n")
    _write_private(output / "users.acl", acl_file(cell, passwords))
    if as_json:
        users = [
            AclUser(role, user_name(role, cell), str(output / f"{role}.password")) for role in roles
        ]
        write_json(AclDocument(str(output / "users.acl"), users))
        return
    click.echo(f"{output / 'users.acl'}: start the server with --aclfile, or `ACL LOAD`")
    for role in roles:
        click.echo(f"{output / f'{role}.password'}: {user_name(role, cell)}")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
