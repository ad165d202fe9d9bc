"""`parallax scheduler`: one scheduler process."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from random import Random
from typing import Any

import click

from parallax.broker.link.connection import Link
from parallax.broker.server.eviction import refuse_eviction
from parallax.broker.store.keys import Keys
from parallax.cli.engine_options import PORT
from parallax.cli.leader import leader_of
from parallax.cli.options import (
    metrics_host_option,
    objectives_from,
    policies_from,
    policy_options,
    redis_options,
    server_url,
    slo_options,
    start_logging,
)
from parallax.cli.silence import said_after
from parallax.core.cells import CellAddress
from parallax.core.settings import SchedulerSettings
from parallax.services import service
from parallax.services.clock import SystemClock
from parallax.services.exporter import Exporter
from parallax.services.orders import Orders
from parallax.services.scheduler import SchedulerService
from parallax.telemetry.scheduling import SchedulingMetrics
from parallax.telemetry.tracing import configured

log = logging.getLogger(__name__)

_DEFAULTS = SchedulerSettings()


@click.command()
@redis_options
@policy_options
@click.option("--lease", "lease_s", type=float, default=_DEFAULTS.lease_s, show_default=True,
              help="Seconds the leader's lease lasts without renewal.")  # fmt: skip
@click.option("--heartbeat", "heartbeat_s", type=float, default=_DEFAULTS.heartbeat_s,
              show_default=True, help="Seconds a worker's heartbeat lasts.")  # fmt: skip
@click.option("--sweep", "sweep_s", type=float, default=_DEFAULTS.sweep_s, show_default=True,
              help="Seconds between two looks for what was lost.")  # fmt: skip
@click.option("--repair-grace", "repair_grace_s", type=float, default=_DEFAULTS.repair_grace_s,
              show_default=True, help="Seconds after which an untouched job is looked for; "
              "more than the heartbeat and the lease together.")  # fmt: skip
@click.option("--window", type=int, default=_DEFAULTS.window, show_default=True,
              help="Most jobs of one tenant held in memory.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the policies.")
@slo_options
@metrics_host_option
@click.option("--metrics-port", type=PORT, help="Serve /metrics and /healthz on this port.")
@click.option("--verbose", is_flag=True, help="Log more.")
def scheduler(
    redis: str | None,
    cell: str,
    home: Path | None,
    lease_s: float,
    heartbeat_s: float,
    sweep_s: float,
    repair_grace_s: float,
    window: int,
    seed: int,
    metrics_host: str,
    metrics_port: int | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Run one scheduler. Start two or more: one leads, the others take over when it is gone."""
    metrics = SchedulingMetrics(objectives_from(options))
    policies = policies_from(options)
    settings = SchedulerSettings(
        lease_s=lease_s, heartbeat_s=heartbeat_s, sweep_s=sweep_s, repair_grace_s=repair_grace_s,
        window=window, seed=seed,
    )  # fmt: skip
    url = server_url(redis, home)
    start_logging(verbose)
    duty = SchedulerService(
        Link.to(url),
        Keys(cell),
        candidate(),
        settings,
        policies,
        SystemClock(),
        metrics,
        tracer=configured("scheduler", cell),
    )
    with Orders() as orders, Exporter(metrics.registry, metrics_port, metrics_host):
        refuse_eviction(Link.to(url), Keys(cell))
        with said_after(lambda: _standing_by(duty, CellAddress(cell, url)), tell=log.info):
            service.run(duty, orders.stop, Random())


def _standing_by(duty: SchedulerService, place: CellAddress) -> list[str]:
    """Say who leads, if this process does not."""
    leader = None if duty.leading else leader_of(place)
    told = f"standing by: {leader} leads cell {place.name}; this one takes over when it is gone"
    return [] if leader is None else [told]


def candidate() -> str:
    """Return the name of this process; `Leadership` sees to it that no other scheduler has it."""
    return f"{socket.gethostname()}-{os.getpid()}"
