"""Finding the server that leads by asking sentinels: for each connection anew.

    redis+sentinel://[user:password@]host:port,host:port/service[/database]

User and password are the server's own; sentinels are asked without. One of them is enough, and the
next one is asked where one is silent. Who is named is asked what it is (`ROLE`): a sentinel that
was cut off names who led before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from parallax.broker.link.nodes import Address

ASKING_S = 1.0  # the longest wait for one sentinel
_FOLLOWS = "a sentinel names a server that does not lead any more"
_NOBODY = "no sentinel names a server that leads {}"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where sentinels are, and the name of what they watch."""

    places: tuple[Address, ...]
    service: str

    def leader(self) -> Address:
        """Return host and port of the server that leads; raises redis.ConnectionError."""
        for host, port in self.places:
            try:
                found = _asked(host, port, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service))
                if isinstance(found, list) and len(found) == 2:
                    return found[0].decode(), int(found[1])
            except (redis.RedisError, OSError, ValueError, AttributeError):
                continue
        raise redis.ConnectionError(_NOBODY.format(self.service))


def check_leads(role: Any) -> None:
    """Raise redis.ConnectionError for a server that says that it follows another one.

    One that may not be asked is believed: its first write tells.
    """
    if isinstance(role, list) and role and role[0] != b"master":
        raise redis.ConnectionError(_FOLLOWS)


def demoted(error: object) -> bool:
    """Whether a server refuses to write because it follows another one."""
    text = str(error)
    return "READONLY" in text or "read only replica" in text


def _asked(host: str, port: int, command: Sequence[str]) -> Any:
    kind: Any = redis.Connection  # it has no types
    connection = kind(
        host=host, port=port, socket_timeout=ASKING_S, socket_connect_timeout=ASKING_S, protocol=2
    )
    try:
        connection.send_command(*command)
        return connection.read_response(disable_decoding=True)
    finally:
        connection.disconnect()
