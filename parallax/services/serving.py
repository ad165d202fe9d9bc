"""Serving over HTTP until told to stop: uvicorn in a loop of ours, which leaves signals to us."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

#: How often it is looked whether there is hurry (seconds).
LOOK_S = 0.2


class QuietServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See the class."""
        yield


async def served(
    server: uvicorn.Server, listening: socket.socket, hurried: Callable[[], bool]
) -> None:
    """Serve on a socket until `server.should_exit`; once there is hurry, nothing is waited for."""
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not serving.done():
        await asyncio.wait({serving}, timeout=LOOK_S)
        server.force_exit = server.force_exit or hurried()
    serving.result()
