"""`parallax dashboard`: the web dashboard of a cell."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from parallax.cli.options import redis_options, server_url, start_logging
from parallax.cli.output import say
from parallax.core.cells import CellAddress
from parallax.dashboard.app import Dashboard
from parallax.dashboard.lab import Lab
from parallax.dashboard.serving import Serving
from parallax.producers.gateway.serving import is_loopback, listening
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.services.system import TOKEN_VARIABLE

#: Shortest token that is taken from this process's environment.
_SHORTEST = 16


@click.command()
@redis_options
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on; where others can reach it, they sign in to look, "
              "too.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8090, show_default=True,
              help="Port to listen on; 0 takes a free one.")  # fmt: skip
@click.option("--lab", type=click.Path(path_type=Path, file_okay=False), metavar="DIRECTORY",
              help="Where reports of simulations are kept [default: the system's temporary "
              "directory].")  # fmt: skip
@click.option("--verbose", is_flag=True, help="Log more.")
def dashboard(
    redis: str | None, cell: str, home: Path | None, host: str, port: int, lab: Path | None,
    verbose: bool,
) -> None:  # fmt: skip
    """Serve the web dashboard of a cell, until Ctrl-C.

    The address that it prints ends with a token: a browser that opens it may change things
    (weights, policies, workers), as may a user with an API key of the scope admin. Without either
    this machine may look; others may not, unless --host lets them reach it and they sign in.
    """
    address = CellAddress(cell, server_url(redis, home))
    start_logging(verbose)
    given = os.environ.get(TOKEN_VARIABLE, "")
    token = given if len(given) >= _SHORTEST else secrets.token_urlsafe(24)
    clock = SystemClock()
    front = Dashboard(address, clock, token, is_loopback(host), lab=Lab(lab, clock))
    serving = Serving(front, listening(host, port))
    where = f"http://{f'[{host}]' if ':' in host else host}:{serving.port}/"
    with Orders(serving.stop) as orders:
        # The process that chose the token prints the address with it on its own standard output.
        shown = where if given else f"{where}#token={token}"
        say(f"dashboard of cell {cell}: {shown}", err=bool(given))
        sys.stdout.flush()
        serving.run(orders.now.is_set)
