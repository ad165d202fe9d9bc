"""The one door to HTTP: a session with one server, and requests that end as bytes or `Failure`.

The client is aiohttp: its parser is compiled, and a response that is closed closes its connection
at once (docs/decisions/0020). It comes with the extra `engines`; without it this module cannot be
imported, so nobody imports it before a backend is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from parallax import __version__
from parallax.broker.api import paths
from parallax.consumers.upstream.asked import Asked
from parallax.consumers.upstream.backend import Backend
from parallax.consumers.upstream.failure import Failure, of_status

#: Idle connections are closed before servers close them (uvicorn after 5 s): nobody writes into a
#: connection that is just being closed.
KEEP_S = 3.0

#: How long a question about the server itself may take (seconds), and its longest answer (bytes).
LOOK_S, MOST_LOOK = 5.0, 8 << 20

#: Longest body of an error that is read (bytes).
MOST_ERROR = 64 << 10


class Door:
    """A session with one server. Made in a running loop, and closed in it."""

    def __init__(self, backend: Backend, key: str = "") -> None:
        self._backend = backend
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=backend.timeouts.connect_s),
            headers={"User-Agent": f"parallax/{__version__}", "Accept-Encoding": "identity"}
            | ({"Authorization": f"Bearer {key}"} if key else {}),
            cookie_jar=aiohttp.DummyCookieJar(),  # one request knows nothing of another
            read_bufsize=1 << 18,
        )

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def look(self, path: str) -> bytes:
        """Ask the server about itself; raises Failure."""
        try:
            async with asyncio.timeout(LOOK_S), self._asked("GET", self._backend.root + path) as r:
                return await whole(r, MOST_LOOK)
        except TimeoutError:
            raise Failure(f"no answer to GET {path} within {LOOK_S:g} s") from None

    async def look_json(self, path: str) -> Any:
        """Ask the same, for JSON; raises Failure."""
        body = await self.look(path)
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Failure(f"the answer to GET {path} is no JSON: {body[:60]!r}") from None

    @asynccontextmanager
    async def post(self, asked: Asked) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; yield the response once its head is there. Raises Failure.

        A caller that leaves before its end, or is cancelled, closes the connection.
        """
        above = self._backend.root if asked.path == paths.TOKENIZE else self._backend.api
        async with self._asked("POST", above + asked.path, asked.payload, asked.trace) as response:
            yield response

    @asynccontextmanager
    async def _asked(
        self, method: str, url: str, payload: bytes | None = None, trace: str = ""
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {} if payload is None else {"Content-Type": "application/json"}
        if trace:
            headers["traceparent"] = trace
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._session.request(
                method, url, data=payload, headers=headers, allow_redirects=False
            )
            if response.status >= 300:
                said = await _some(response)
                raise of_status(response.status, response.headers.get("Retry-After", ""), said)
            yield response
        except aiohttp.ClientConnectorError as error:
            told = error.os_error.strerror or str(error.os_error)
            raise Failure(f"the backend cannot be reached: {told}", untouched=True) from None
        except aiohttp.ConnectionTimeoutError:
            raise Failure("the backend cannot be reached in time", untouched=True) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Failure(f"the connection broke: {_named(error)}") from None
        finally:
            if response is not None:
                response.release() if response.content.at_eof() else response.close()


async def whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read a body to its end; raises Failure if it is longer than it may be."""
    parts: list[bytes] = []
    size = 0
    while data := await response.content.readany():
        size += len(data)
        if size > most:
            raise Failure(f"the answer has more than {most} bytes", again=False, blames=False)
        parts.append(data)
    return b"".join(parts)


async def _some(response: aiohttp.ClientResponse) -> bytes:
    """Read the beginning of an error's body, without waiting long for it."""
    said = b""
    try:
        async with asyncio.timeout(LOOK_S):
            while len(said) < MOST_ERROR and (data := await response.content.readany()):
                said += data
    except (TimeoutError, aiohttp.ClientError):
        pass
    return said[:MOST_ERROR]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
