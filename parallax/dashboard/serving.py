"""Serving a dashboard over HTTP until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from parallax.dashboard.app import Dashboard

#: How often it is looked whether there is hurry, and how long viewers may take to leave (seconds).
LOOK_S, LEAVE_S = 0.2, 1


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See the class."""
        yield


class Serving:
    """A dashboard at an address. `run` serves it; `stop` may be called from a signal's handler."""

    def __init__(self, dashboard: Dashboard, listening: socket.socket) -> None:
        self._socket = listening
        config = uvicorn.Config(
            dashboard.app, ws="none", lifespan="on", log_config=None, log_level="warning",
            access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=LEAVE_S,
        )  # fmt: skip
        self._server = _Server(config)

    @property
    def port(self) -> int:
        """The port it listens on (useful when 0 was asked for)."""
        return int(self._socket.getsockname()[1])

    def run(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Serve until `stop`. Who watches for ever is left after a second."""
        asyncio.run(self._serve(hurried))

    async def _serve(self, hurried: Callable[[], bool]) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        while not serving.done():
            await asyncio.wait({serving}, timeout=LOOK_S)
            self._server.force_exit = self._server.force_exit or hurried()
        serving.result()

    def stop(self) -> None:
        """Take no new requests."""
        self._server.should_exit = True
