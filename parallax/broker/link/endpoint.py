"""Parses a server's URL: how to connect, and as which user.

redis-py reads the URL, so that a link that waits and one that awaits understand it alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.driver_info import DriverInfo
from redis.retry import Retry

from parallax import __version__
from parallax.broker.link import tls
from parallax.broker.link.errors import translated
from parallax.broker.link.sentinel import Sentinels
from parallax.core.errors import InvalidInput
from parallax.core.redis_url import FIELD, URLS, checked, sentinels_of

MAX_BLOCK_MS = 2_000
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
#: What `CLIENT LIST` shows. Unless told, redis-py looks for its own version among the files of
#: installed packages, for each connection anew, which takes a millisecond.
_DRIVER = DriverInfo(name="parallax", lib_version=__version__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, and what redis-py's connections take to reach it: checked, and not connected to."""

    kind: Any  # redis-py's class of connections
    arguments: dict[str, Any]
    sentinels: Sentinels | None = None  # who says where the server is, for each connection anew

    @classmethod
    def of(cls, url: str, timeout_s: float) -> Endpoint:
        """Return what a URL (`redis://`, `rediss://`, `unix://`) says.

        Raises InvalidInput for a URL that cannot be (see `parallax.core.redis_url`). `timeout_s` is
        the longest wait for a reply.
        """
        url = checked(url)
        watched = sentinels_of(url)
        if watched is not None:
            places, service, url = watched
            sentinels = Sentinels(tuple((host.strip("[]"), port) for host, port in places), service)
            return replace(cls.of(url, timeout_s), sentinels=sentinels)
        secure = url.startswith("rediss://")
        try:
            pool = ConnectionPool.from_url(
                url,
                protocol=2,
                socket_timeout=timeout_s,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                health_check_interval=0,
                driver_info=_DRIVER,
            )
            # Not the pool's own `make_connection`: it counts, and refuses the hundredth reconnect.
            kind = tls.TlsConnection if secure else pool.connection_class
            kind(**pool.connection_kwargs)
        except (ValueError, TypeError, redis.RedisError):
            raise InvalidInput(FIELD, "***", URLS) from None
        except OSError as error:
            raise translated(error) from error
        if secure:
            tls.check_files(pool.connection_kwargs)
        return cls(kind, dict(pool.connection_kwargs))

    def lent(self) -> Any:
        """Return a client of redis-py for a library that brings its own commands, as rq does."""
        pool = ConnectionPool(connection_class=self.kind, **{**self.arguments, **self._found()})
        return redis.Redis(connection_pool=pool)

    def connection(self, **place: Any) -> Any:
        """Return a connection of redis-py, not opened yet: to this server, or to another place."""
        return self.kind(**{**self.arguments, **self._found(), **place})

    def _found(self) -> dict[str, Any]:
        if self.sentinels is None:
            return {}
        host, port = self.sentinels.leader()
        return {"host": host, "port": port}

    @property
    def asks(self) -> bool:
        """Whether the first server is asked if it is a node of a cluster."""
        return not self.path and self.sentinels is None

    @property
    def path(self) -> str:
        """The unix socket; '' for a host."""
        return str(self.arguments.get("path", ""))

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.kind is tls.TlsConnection
