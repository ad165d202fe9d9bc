"""Which node of a Redis Cluster a link talks to.

All keys of a cell lie in one slot, and a slot on one node: a link need not know where all slots
are, only where its own is. It learns that from the refusal of any other node (`MOVED`), goes there,
and stays. Beside that it keeps a few addresses of the same cluster, so that it can ask others when
the node it knows, or the one in its URL, is gone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import cycle, islice
from typing import Any

import redis

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
    none waits longer than for one connection. It decides only; its link connects and asks.
    """

    def __init__(self, asks: bool) -> None:
        self.here: Address | None = None  # where to connect next; None: where the URL points
        self._others: Iterator[Address | None] = cycle((None,))
        self._clustered = False
        self._asks = asks

    def failed(self) -> None:
        """Nobody who serves was reached there: the next connection is made elsewhere."""
        self.here = next(self._others)

    def follow(self, moved: Moved, host: str) -> None:
        """Connect from now on to the node that has the slot; no host means the same host."""
        if not host:
            raise StoreFault(f"{moved}; a unix socket leads to one node only: use a redis:// URL")
        self.here = moved.host or host, moved.port
        self._clustered = True

    def questions(self, host: str) -> Generator[tuple[str, ...], Any, None]:
        """Learn other nodes of the cluster from a new connection: yields commands, takes replies.

        Only the first server is asked whether it is a node of one. An answer that we can do without
        is anything else than expected: a user with few rights may not ask.
        """
        if self._asks:
            self._clustered = _is_node((yield ("HELLO",)))
            self._asks = False
        known = _addresses((yield ("CLUSTER", "SLOTS")), host) if self._clustered else ()
        self._others = cycle((None, *known))


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
