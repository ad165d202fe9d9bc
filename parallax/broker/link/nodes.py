"""Which node of a Redis Cluster a link talks to.

All keys of a cell lie in one slot, and a slot on one node: a link need not know where all slots
are, only where its own is. It learns that from the refusal of any other node (`MOVED`), goes there,
and stays. Beside that it keeps a few addresses of the same cluster, so that it can ask others when
the node it knows, or the one in its URL, is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import redis
from hiredis import pack_command

from parallax.core.errors import StoreFault, Unreachable

Address = tuple[str, int]

MOST_HOPS = 5  # two nodes that each name the other would send us round for ever
MOST_NODES = 16


class Moved(Unreachable):
    """Another node has the slot. The command was not executed, so it may be sent again there."""

    def __init__(self, slot: int, host: str, port: int) -> None:
        super().__init__(f"Redis cannot serve just now: slot {slot} has moved to {host}:{port}")
        self.host, self.port = host, port


def redirected(error: Exception) -> Unreachable | None:
    """Return what an error says of another node; None if it says nothing of one."""
    if isinstance(error, redis.exceptions.MovedError):
        return Moved(error.slot_id, error.host, error.port)
    if isinstance(error, redis.exceptions.AskError):
        return Unreachable(f"Redis cannot serve just now: a slot is being moved: {error}")
    return None


class Route:
    """Where a link connects next: to its URL, to the node it was sent to, or to another one.

    One address for each attempt: who cannot be reached is passed over by the next attempt, so that
    none waits longer than for one connection.
    """

    def __init__(self, connect: Callable[..., Any], asks: bool) -> None:
        self._connect = connect
        self._here: Address | None = None  # where the URL points
        self._others: Iterator[Address | None] = cycle((None,))
        self._clustered = False
        self._asks = asks
        self.tried: Address = ("", 0)  # what was connected to last

    def open(self) -> Any:
        """Return a new connection. After a failure the next one is made elsewhere."""
        connection = self._made()
        self.tried = getattr(connection, "host", ""), getattr(connection, "port", 0)
        try:
            connection.connect()
            known = self._nodes(connection)
        except BaseException:
            self._here = next(self._others)
            raise
        self._others = cycle((None, *known))
        return connection

    def follow(self, moved: Moved, connection: Any) -> None:
        """Connect from now on to the node that has the slot; no host means the same host."""
        if not hasattr(connection, "host"):
            raise StoreFault(f"{moved}; a unix socket leads to one node only: use a redis:// URL")
        self._here = moved.host or connection.host, moved.port
        self._clustered = True

    def _made(self) -> Any:
        if self._here is None:
            return self._connect()
        host, port = self._here
        return self._connect(host=host, port=port)

    def _nodes(self, connection: Any) -> Sequence[Address]:
        """Return other nodes of the cluster; only the first server is asked whether it is one."""
        if self._asks:
            self._clustered, self._asks = _is_node(_asked(connection, "HELLO")), False
        if not self._clustered:
            return ()
        return _addresses(_asked(connection, "CLUSTER", "SLOTS"), connection.host)


def _asked(connection: Any, *command: str) -> Any:
    """Return the answer to a question we can do without: a narrow user may not ask it."""
    packed = pack_command(command)  # type: ignore[arg-type]
    connection.send_packed_command([packed], check_health=False)
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError:
        return ()


def _is_node(hello: Any) -> bool:
    return isinstance(hello, list) and (b"mode", b"cluster") in zip(hello[::2], hello[1::2])  # noqa: B905 - the reply of a server, of whatever length


def _addresses(slots: Any, same: str) -> list[Address]:
    """Return the nodes, replicas too, that `CLUSTER SLOTS` names; those without a name left out."""
    try:
        named = [(host, int(port)) for _, _, *nodes in slots for host, port, *_ in nodes]
        found = [(host.decode() if host else same, port) for host, port in named if host != b"?"]
    except (TypeError, ValueError, AttributeError):
        return []
    return list(islice(dict.fromkeys(found), MOST_NODES))
