"""`parallax exporter`: metrics of a whole cell, read in Redis."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.cli.options import metrics_host_option, redis_options, server_url, start_logging
from parallax.cli.output import say
from parallax.core.model import check_number
from parallax.services import service
from parallax.services.cell_watch import CellWatch
from parallax.services.clock import SystemClock
from parallax.services.exporter import Exporter
from parallax.services.orders import Orders
from parallax.telemetry.cell import CellMetrics


@click.command()
@redis_options
@metrics_host_option
@click.option("--metrics-port", type=click.IntRange(0, 65_535), default=9_099, show_default=True,
              help="Serve /metrics and /healthz on this port; 0 takes a free one.")  # fmt: skip
@click.option("--every", "every_s", type=float, default=2.0, show_default=True,
              help="Seconds between two looks at the cell.")  # fmt: skip
@click.option("--verbose", is_flag=True, help="Log more.")
def exporter(
    redis: str | None,
    cell: str,
    home: Path | None,
    metrics_host: str,
    metrics_port: int,
    every_s: float,
    verbose: bool,
) -> None:
    """Serve the metrics of a whole cell: queues, workers, who leads, and the server's memory.

    It only reads, and the user `observer` of `parallax acl` may do that. One for each cell is
    enough; it needs no scheduler, so it tells of it when none leads.
    """
    check_number("--every", every_s, 0.1, 3_600.0)
    url = server_url(redis, home)
    start_logging(verbose)
    metrics = CellMetrics()
    watch = CellWatch(Link.to(url), Keys(cell), metrics, SystemClock(), every_s)
    with Orders() as orders, Exporter(metrics.registry, metrics_port, metrics_host) as served:
        say(f"metrics of cell {cell}: http://{served.address}:{served.port}/metrics")
        sys.stdout.flush()
        service.run(watch, orders.stop, Random())
