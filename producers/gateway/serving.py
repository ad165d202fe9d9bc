"""Serving a gateway over HTTP until told to stop: uvicorn in a loop of ours."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from functools import partial

import uvicorn

from parallax.core.errors import InvalidInput
from parallax.producers.gateway.app import Gateway
from parallax.producers.gateway.connections import Connection, Watch, bound_peers
from parallax.producers.gateway.patience import Patience, Phase, Tally
from parallax.services import event_loop
from parallax.services.serving import QuietServer, served

#: Connections that wait to be accepted, and how long an idle one is kept (seconds).
BACKLOG, KEEP_ALIVE_S = 2_048, 15
#: How long the rest of a body may come after its request was answered (seconds).
REST_S = 5.0
#: How often it is looked who is late, and how often that is logged (seconds).
SWEEP_S, TELL_S = 0.25, 10.0

log = logging.getLogger(__name__)


class Serving:
    """A gateway at an address. `run` serves it; `stop` may be called from a signal's handler."""

    def __init__(self, gateway: Gateway, listening: socket.socket) -> None:
        self._gateway, self._socket = gateway, listening
        settings, clock = gateway.settings, gateway.clock
        self._tally = Tally(clock, TELL_S, log.warning)
        limits = {Phase.HEAD: settings.receive_head_s, Phase.REST: REST_S, Phase.IDLE: KEEP_ALIVE_S}
        self._patience = Patience(limits, settings.max_idle, clock, self._gave_up)
        watch = Watch(self._patience, settings.receive_head_s, settings.max_body)
        bound_peers(listening, settings.slow_client_s)
        self._server = QuietServer(
            uvicorn.Config(
                gateway.app, http=partial(Connection, watch=watch),  # type: ignore[arg-type]
                ws="none", lifespan="on", log_config=None,
                log_level="warning", access_log=False, server_header=False, proxy_headers=False,
                backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            )
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The port it listens on (useful when 0 was asked for)."""
        return int(self._socket.getsockname()[1])

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return self._server.started

    def run(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Serve until `stop`; then let requests under way end, for a while.

        Once there is hurry none of it is waited for.
        """
        event_loop.run(self._served(hurried))

    async def _served(self, hurried: Callable[[], bool]) -> None:
        sweeping = asyncio.ensure_future(self._sweep())
        try:
            await served(self._server, self._socket, hurried)
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._patience.sweep()
            self._tally.tell()

    def _gave_up(self, why: str) -> None:
        self._gateway.metrics.gave_up(why)
        self._tally.count(why)

    def stop(self) -> None:
        """Take no new requests."""
        self._gateway.draining = True
        self._server.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to this address; raises InvalidInput if it cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput("--host", host, f"an address of this machine ({error})") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidInput("--host", host, f"an address of this machine ({error})") from None
        raise InvalidInput("--port", port, f"a free port of {host} ({error})") from None
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
