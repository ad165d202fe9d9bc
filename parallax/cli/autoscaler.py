"""`parallax autoscaler`: starts workers when a cell needs them, and lets them go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.cli.engine_options import ENGINE, PORT, PROFILE, SPEED, engine_arguments
from parallax.cli.options import metrics_host_option, redis_options, server_url, start_logging
from parallax.cli.scaling_options import scaling_options, settings_from
from parallax.cli.scheduler import candidate
from parallax.core.errors import InvalidInput
from parallax.services import service
from parallax.services.autoscaler import AutoscalerService
from parallax.services.capacity.compose import ComposeCapacity
from parallax.services.capacity.interface import Capacity
from parallax.services.capacity.kubernetes import ApiServer, KubernetesCapacity
from parallax.services.capacity.local import LocalCapacity
from parallax.services.clock import SystemClock
from parallax.services.exporter import Exporter
from parallax.services.orders import Orders
from parallax.services.system import Plan, System
from parallax.telemetry.scaling import ScalingMetrics

LOCAL, KUBERNETES, COMPOSE = "local", "kubernetes", "compose"
_TARGETS = {LOCAL: "", KUBERNETES: "deployment/worker", COMPOSE: "worker"}


@click.command()
@redis_options
@click.option("--min", "fewest", type=click.IntRange(0, 1_000), default=1, show_default=True,
              help="Fewest workers; 0: none while there is no work.")  # fmt: skip
@click.option("--max", "most", type=click.IntRange(1, 1_000), default=8, show_default=True,
              help="Most workers.")  # fmt: skip
@scaling_options
@click.option("--capacity", type=click.Choice(list(_TARGETS)), default=LOCAL, show_default=True,
              help="Who has the machines: processes started here; the scale subresource of "
              "Kubernetes; docker compose up --scale.")  # fmt: skip
@click.option("--target", metavar="NAME", help="What is scaled: deployment/NAME or "
              "statefulset/NAME of Kubernetes, the service of Compose "
              "[default: deployment/worker, or worker].")  # fmt: skip
@click.option("--namespace", default="", help="Of Kubernetes [default: the pod's own].")
@click.option("--kube-server", default="", metavar="URL",
              help="API server of Kubernetes [default: what the pod is told].")  # fmt: skip
@click.option("--compose-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Of Compose [default: the one in this directory].")  # fmt: skip
@click.option("--project", default="", help="Of Compose [default: as the file says].")
@click.option("--engine", type=ENGINE, default="cpu", show_default=True,
              help="Engine of workers that are processes started here.")  # fmt: skip
@click.option("--profile", type=PROFILE, default="laptop", show_default=True,
              help="Model and hardware that these imitate.")  # fmt: skip
@click.option("--engine-speed", type=SPEED, default=1.0, show_default=True,
              help="How many times faster than the profile they are.")  # fmt: skip
@metrics_host_option
@click.option("--metrics-port", type=PORT, help="Serve /metrics and /healthz on this port.")
@click.option("--verbose", is_flag=True, help="Log more.")
def autoscaler(
    redis: str | None,
    cell: str,
    home: Path | None,
    fewest: int,
    most: int,
    policy: str,
    parameters: tuple[str, ...],
    every_s: float,
    cooldown_s: float,
    dry_run: bool,
    capacity: str,
    target: str | None,
    namespace: str,
    kube_server: str,
    compose_file: Path | None,
    project: str,
    engine: str,
    profile: str,
    engine_speed: float,
    metrics_host: str,
    metrics_port: int | None,
    verbose: bool,
) -> None:
    """Scale the workers of a cell by its load, until Ctrl-C.

    It counts refused work, drains workers before they go, those with the coldest cache first,
    and says why in the log, in its metrics and in `parallax status`. Of several, one acts and the
    others stand by. Workers that are processes started here end with this command.
    """
    settings = settings_from(policy, parameters, (fewest, most), every_s, cooldown_s, dry_run)
    if capacity == LOCAL and target is not None:
        raise InvalidInput("--target", target, "with --capacity kubernetes or compose")
    target, worker = target or _TARGETS[capacity], engine_arguments(engine, profile, engine_speed)
    remote: Capacity | None = None
    if capacity == COMPOSE:
        remote = ComposeCapacity(target, compose_file, project)
    elif capacity == KUBERNETES:
        remote = KubernetesCapacity(target, ApiServer.of_the_pod(kube_server, namespace))
    url = server_url(redis, home)
    start_logging(verbose)
    metrics, prefix = ScalingMetrics(), f"a{os.getpid()}w"  # other commands start a w1, too
    with (
        Orders() as orders,
        Exporter(metrics.registry, metrics_port, metrics_host),
        _local(remote, url, Plan(0, 0, worker, cell=cell, prefix=prefix), orders) as machines,
    ):
        duty = AutoscalerService(
            Link.to(url), Keys(cell), candidate(), settings, machines, SystemClock(), metrics
        )
        service.run(duty, orders.stop, Random())


@contextmanager
def _local(remote: Capacity | None, url: str, plan: Plan, orders: Orders) -> Iterator[Capacity]:
    """Return the owner of the machines; for local processes, a system that runs them."""
    if remote is not None:
        yield remote
        return
    with System(plan, SystemClock(), url=url, orders=orders) as system:
        yield LocalCapacity(system)
