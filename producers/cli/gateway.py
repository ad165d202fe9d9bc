"""`parallax gateway`: the OpenAI API over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import Keyring
from parallax.broker.store.keys import Keys
from parallax.cli.engine_options import PORT
from parallax.cli.options import (
    metrics_host_option,
    redis_options,
    server_url,
    start_logging,
    warn_of_password,
)
from parallax.cli.output import say
from parallax.core.cells import CellAddress
from parallax.core.errors import InvalidInput
from parallax.producers.cli.durable import durability_options
from parallax.producers.gateway.app import Gateway
from parallax.producers.gateway.doorkeeper import GUARDED, INSECURE, LOCAL, Openness
from parallax.producers.gateway.serving import Serving, is_loopback, listening
from parallax.producers.gateway.settings import GatewaySettings
from parallax.services.clock import SystemClock
from parallax.services.exporter import Exporter
from parallax.services.orders import Orders
from parallax.telemetry.serving import ServingMetrics
from parallax.telemetry.tracing import configured

_DEFAULTS = GatewaySettings()


def _warned(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    warn_of_password(context, parameter, url, "PARALLAX_GATEWAY_OBSERVER")
    return url


def _aliases(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read `NAME=MODEL`; raises InvalidInput."""
    for value in values:
        if not all(value.partition("=")[::2]):
            raise InvalidInput("--alias", value, "NAME=MODEL")
    return tuple((name, model) for name, _, model in (one.partition("=") for one in values))


@click.command()
@redis_options
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on; one that others can reach wants API keys.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True,
              help="Port to listen on; 0 takes a free one.")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Let anybody who can reach the address ask anything "
              "for anybody, as long as there are no API keys.")  # fmt: skip
@click.option("--observer", metavar="URL", callback=_warned,
              help="The same Redis for the role observer, where each role has a user of its own: "
              "workers and keys are looked up there [default: as --redis].")  # fmt: skip
@click.option("--max-tokens", type=int, default=_DEFAULTS.max_tokens, show_default=True,
              help="Longest answer where a request does not say.")  # fmt: skip
@click.option("--max-body", type=int, default=_DEFAULTS.max_body, show_default=True,
              help="Most bytes of a request.")  # fmt: skip
@click.option("--max-open", type=int, default=_DEFAULTS.max_open, show_default=True,
              help="Most requests under way at once.")  # fmt: skip
@click.option("--head", "head_s", type=float, default=_DEFAULTS.head_s, show_default=True,
              help="Seconds without news after which a stream begins with comments.")  # fmt: skip
@click.option("--hold", "hold_s", type=float, default=_DEFAULTS.hold_s, show_default=True,
              help="Seconds to wait for a worker that serves the model.")  # fmt: skip
@click.option("--learn", "learn_s", type=float, default=_DEFAULTS.learn_s, show_default=True,
              help="Seconds after its start in which no model is unknown.")  # fmt: skip
@click.option("--alias", "aliases", multiple=True, metavar="NAME=MODEL", callback=_aliases,
              help="Another name for a model; may be repeated.")  # fmt: skip
@click.option("--default-model", default="", metavar="MODEL",
              help="Model for requests that name none [default: any].")  # fmt: skip
@click.option("--wait", "wait_s", type=float, default=_DEFAULTS.wait_s, show_default=True,
              help="Longest wait without news of a job, in seconds.")  # fmt: skip
@click.option("--slow-client", "slow_client_s", type=float, default=_DEFAULTS.slow_client_s,
              show_default=True, help="Seconds after which a client that reads nothing has "
              "left.")  # fmt: skip
@click.option("--receive-head", "receive_head_s", type=float, default=_DEFAULTS.receive_head_s,
              show_default=True, help="Seconds a request's head may take to come.")  # fmt: skip
@click.option("--receive-body", "body_s", type=float, default=_DEFAULTS.body_s,
              show_default=True, help="Seconds its body may take to come.")  # fmt: skip
@click.option("--max-idle", type=int, default=_DEFAULTS.max_idle, show_default=True,
              help="Most connections at once on which no request is under way.")  # fmt: skip
@click.option("--drain", "drain_s", type=float, default=_DEFAULTS.drain_s, show_default=True,
              help="Seconds requests under way may take to end after SIGTERM.")  # fmt: skip
@durability_options
@metrics_host_option
@click.option("--metrics-port", type=PORT, help="Serve /metrics and /healthz on this port, too.")
@click.option("--verbose", is_flag=True, help="Log more.")
def gateway(
    redis: str | None,
    cell: str,
    home: Path | None,
    host: str,
    port: int,
    insecure: bool,
    observer: str | None,
    metrics_host: str,
    metrics_port: int | None,
    verbose: bool,
    **limits: Any,
) -> None:
    """Serve the OpenAI API over HTTP. SIGTERM drains it: requests under way are answered.

    Any OpenAI client works: its base URL is http://ADDRESS:PORT/v1. Without API keys (`parallax
    keys create`) it is open, and listens to this machine only.
    """
    settings = GatewaySettings(**limits)
    address = CellAddress(cell, server_url(redis, home))
    openness = _openness(observer or address.url, cell, host, insecure)
    start_logging(verbose)
    metrics = ServingMetrics()
    looking = observer or address.url
    tracer = configured("gateway", cell)
    front = Gateway(address, looking, settings, SystemClock(), openness, metrics, tracer)
    serving = Serving(front, listening(host, port))
    with Orders(serving.stop) as orders, Exporter(metrics.registry, metrics_port, metrics_host):
        shown = f"[{host}]" if ":" in host else host
        say(f"gateway of cell {cell}: http://{shown}:{serving.port}/v1")
        sys.stdout.flush()
        serving.run(orders.now.is_set)


def _openness(url: str, cell: str, host: str, insecure: bool) -> Openness:
    """Return who may ask without a key; raises InvalidInput for an address open by accident."""
    if insecure:
        return INSECURE
    if is_loopback(host):
        return LOCAL
    link = Link.to(url)
    try:
        if Keyring(link, Keys(cell)).any():
            return GUARDED
    finally:
        link.close()
    allowed = "a loopback address; or make a key first (`parallax keys create`), or say --insecure"
    raise InvalidInput("--host", host, allowed)
