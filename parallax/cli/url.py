"""`parallax url`: the address of the server, for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from parallax.broker.server.home import running_server
from parallax.cli.documents import UrlDocument
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import write_json
from parallax.core.secrets import redacted


@click.command()
@redis_options
@click.option("--show-password", is_flag=True, help="Print the password, too, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def url(
    redis: str | None, cell: str, home: Path | None, show_password: bool, as_json: bool
) -> None:
    """Print the address of the server that commands use: the one named, or the embedded one.

    With --show-password other tools can use it: redis-cli -u "$(parallax url --show-password)".
    """
    found = redis
    if not found:
        server = running_server(home)
        found = server.tcp_url if server else server_url(redis, home)
    # redis-cli takes no name for a name of its own: the user that every server has is told.
    found = found.replace("://:", "://default:", 1)
    shown = found if show_password else redacted(found)
    if as_json:
        write_json(UrlDocument(shown, cell))
    else:
        click.echo(shown)
