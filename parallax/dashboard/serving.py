"""Serving a dashboard over HTTP until told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from parallax.dashboard.app import Dashboard
from parallax.services.serving import QuietServer, served

#: How long viewers may take to leave (seconds).
LEAVE_S = 1


class Serving:
    """A dashboard at an address. `run` serves it; `stop` may be called from a signal's handler."""

    def __init__(self, dashboard: Dashboard, listening: socket.socket) -> None:
        self._socket = listening
        config = uvicorn.Config(
            dashboard.app, ws="none", lifespan="on", log_config=None, log_level="warning",
            access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=LEAVE_S,
        )  # fmt: skip
        self._server = QuietServer(config)

    @property
    def port(self) -> int:
        """The port it listens on (useful when 0 was asked for)."""
        return int(self._socket.getsockname()[1])

    def run(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Serve until `stop`. Who watches for ever is left after a second."""
        asyncio.run(served(self._server, self._socket, hurried))

    def stop(self) -> None:
        """Take no new requests."""
        self._server.should_exit = True
