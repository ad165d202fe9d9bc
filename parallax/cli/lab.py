"""`parallax lab`: workers that simulate for others, and maintenance at night."""

from __future__ import annotations

from pathlib import Path

import click

from parallax.cli.options import redis_options, server_options, server_url
from parallax.cli.output import write_json
from parallax.core.model import check_name


@click.group()
def lab() -> None:
    """Work of the laboratory on any number of machines, by rq."""


@lab.command()
@server_options
@click.option("--burst", is_flag=True, help="End when the queue is empty.")
def worker(redis: str | None, home: Path | None, burst: bool) -> None:
    """Run simulations that `parallax compare --rq` asks for, one at a time.

    Start one for each core, on any machine that reaches the server and has the same release and the
    same traces at the same paths. It calls only functions of a list. SIGTERM lets a run end.
    """
    from parallax.cli import nightly, remote
    from parallax.services import jobs

    remote.warm()
    nightly.SERVER.url = server_url(redis, home)
    jobs.work(nightly.SERVER.url, burst=burst)


@lab.command()
@redis_options
@click.option("--at", "pattern", default="17 3 * * *", show_default=True, metavar="CRON",
              help="When, as cron writes it, in UTC.")  # fmt: skip
def nightly(redis: str | None, cell: str, home: Path | None, pattern: str) -> None:
    """Let a worker make a digest of the cell every night: how jobs ended, dead letters by reason.

    Runs until SIGTERM. `parallax lab digests` shows the digests.
    """
    from parallax.cli.nightly import maintain
    from parallax.services import jobs

    check_name("--cell", cell)
    jobs.every_night(server_url(redis, home), pattern, maintain, cell)


@lab.command()
@server_options
def digests(redis: str | None, home: Path | None) -> None:
    """Show the digests of the last month as JSON, the oldest first."""
    from parallax.services import jobs

    write_json(jobs.digests(server_url(redis, home)))
