"""A proxy between one process and Redis, to cut, hang and delay what passes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from enum import Enum
from pathlib import Path

from parallax.core.clock import Clock
from parallax.services.clock import SystemClock

_CHUNK = 65_536
_TICK_S = 0.05
#: Bytes on their way at once; beyond, senders wait, as they would for any network.
_MOST_BYTES = 1 << 26


class Mode(Enum):
    """The proxy's treatment of the bytes that pass."""

    OPEN = "open"
    HANG = "hang"  # nothing passes, and connections stay open
    DOWN = "down"  # connections are closed, new ones too


class Proxy:
    """Listens on a unix socket and forwards to another one, in a thread of its own.

    `cut_reply` lets the next request through and closes the connection instead of passing its
    reply: the server has done what the client will never hear of. With a `round_trip_s` everything
    takes half of it each way, in the order in which it came.
    """

    def __init__(
        self, target: Path, path: Path, round_trip_s: float = 0.0, clock: Clock | None = None
    ) -> None:
        self.path, self.mode, self.cut_replies = path, Mode.OPEN, 0
        self._target, self._delay_s = target, round_trip_s / 2
        self._clock: Clock = clock or SystemClock()
        self._coming: deque[tuple[float, socket.socket, bytes]] = deque()
        self._bytes = 0
        self._stop = threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether anybody is connected through it."""
        return bool(self._pairs)

    def cut_reply(self) -> None:
        """Lose the next reply."""
        self.cut_replies += 1

    def close(self) -> None:
        """Stop, and close everything."""
        self._stop.set()
        self._thread.join(timeout=5)
        for end in list(self._pairs):
            self._drop(end)
        self._selector.close()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self.mode is Mode.DOWN:
                for end in list(self._pairs):
                    self._drop(end)
            if self.mode is Mode.HANG:
                self._stop.wait(_TICK_S)
                continue
            self._deliver()
            for key, _ in self._selector.select(self._patience()):
                ready = key.fileobj
                if ready is self._listener:
                    self._accept()
                elif isinstance(ready, socket.socket) and ready in self._pairs:
                    self._forward(ready)

    def _patience(self) -> float:
        """How long to wait for more before something that is on its way is due."""
        if not self._coming:
            return _TICK_S
        return min(_TICK_S, max(0.0, self._coming[0][0] - self._clock.monotonic()))

    def _deliver(self) -> None:
        """Pass on the bytes that have been delayed for long enough."""
        now = self._clock.monotonic()
        while self._coming and (self._coming[0][0] <= now or self._bytes > _MOST_BYTES):
            _, source, data = self._coming.popleft()
            self._bytes -= len(data)
            if source in self._pairs:
                self._pass(source, data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.mode is Mode.DOWN:
                raise ConnectionRefusedError
            server.connect(str(self._target))
        except OSError:
            client.close()
            server.close()
            return
        self._pairs[client], self._pairs[server] = server, client
        self._clients.add(client)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK)
            if not data:
                raise ConnectionResetError
            if source not in self._clients and self.cut_replies > 0:
                self.cut_replies -= 1
                raise ConnectionResetError
        except OSError:
            self._drop(source)
            return
        if not self._delay_s:
            self._pass(source, data)
            return
        self._coming.append((self._clock.monotonic() + self._delay_s, source, data))
        self._bytes += len(data)

    def _pass(self, source: socket.socket, data: bytes) -> None:
        try:
            self._pairs[source].sendall(data)
        except OSError:
            self._drop(source)

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        for one in (end, other):
            if one is None:
                continue
            self._pairs.pop(one, None)
            self._clients.discard(one)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one)
            one.close()
