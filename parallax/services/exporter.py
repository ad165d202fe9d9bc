"""Serves a process's metrics: `/metrics` for Prometheus, `/healthz` for a supervisor."""

from __future__ import annotations

import errno
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from parallax.core.errors import InvalidInput
from parallax.telemetry.metrics import exposition


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class Exporter:
    """An HTTP server, on the loopback address unless told otherwise; without a port, nothing.

    One exporter per process, told apart by Prometheus's `instance` label. `/healthz` says only
    "ok": whether the process works is what its metrics and its heartbeat say.
    """

    def __init__(
        self, registry: CollectorRegistry, port: int | None, host: str = "127.0.0.1"
    ) -> None:
        self._server: ThreadingHTTPServer | None = None
        if port is None:
            return
        try:
            family = socket.getaddrinfo(host, None)[0][0]
        except (OSError, UnicodeError) as error:
            allowed = f"an address of this machine, or 0.0.0.0 ({error})"
            raise InvalidInput("metrics host", host, allowed) from None
        server = _Server6 if family == socket.AF_INET6 else _Server
        try:
            self._server = server((host, port), _answers(registry))
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
                allowed = f"an address of this machine, or 0.0.0.0 ({error})"
                raise InvalidInput("metrics host", host, allowed) from None
            raise InvalidInput("metrics port", port, f"a free port of {host} ({error})") from None

    @property
    def port(self) -> int | None:
        """The port it listens on (useful when 0 was asked for)."""
        return self._server.server_address[1] if self._server else None

    @property
    def address(self) -> str | None:
        """The address it listens on."""
        return str(self._server.server_address[0]) if self._server else None

    def __enter__(self) -> Exporter:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _answers(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        timeout = 5  # a client that sends nothing does not hold a thread for ever

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, exposition(registry))
            elif self.path == "/healthz":
                self._answer(200, "text/plain", b"ok\n")
            else:
                self._answer(404, "text/plain", b"there is /metrics and /healthz\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: a scrape every few seconds is no news."""

    return Answers
