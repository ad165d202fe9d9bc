"""Submitting to a server with replicas: is what was accepted held by one of them, too?

Replication is asynchronous: when a server dies, what it accepted last is gone with it. `WAITAOF`
(`WAIT` before Redis 7.2, or where a user may not, or without an append-only file) says how many
replicas have all that this connection has written. It makes loss rarer, and says where it is
possible; it takes nothing back. So a job that is not confirmed is accepted all the same, and may be
submitted again under its id: that is confirmed, or not, anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from parallax.broker.link import dialogue
from parallax.broker.link.call import Call
from parallax.broker.link.dialogue import Dialogue
from parallax.broker.store.keys import Keys
from parallax.core.errors import StoreFault, Unusable
from parallax.core.model import check_int
from parallax.core.words import Submitted

if TYPE_CHECKING:  # the door asks us
    from parallax.broker.store.intake import Receipt


#: Less than the longest wait for a reply, more than the second between two syncs of a disk.
USUAL_WAIT_MS = 1_500


@dataclass(frozen=True, slots=True)
class Replicated:
    """How many replicas must hold a job, and how long to wait for them (milliseconds)."""

    replicas: int = 1
    wait_ms: int = USUAL_WAIT_MS

    def __post_init__(self) -> None:
        check_int("replicas", self.replicas, 1, 10)
        check_int("wait_ms", self.wait_ms, 1, 3_000)


def wanted(replicas: int) -> Replicated | None:
    """Return what so many replicas are asked; None for none."""
    return Replicated(replicas, USUAL_WAIT_MS) if replicas else None


def submitted(call: Call[list[Receipt]], keys: Keys, asked: Replicated) -> Dialogue[list[Receipt]]:
    """Submit; of what was accepted the receipts say whether enough replicas hold it.

    It is one question for all of a call.
    """
    receipts = yield from dialogue.do(call)
    if not any(receipt.accepted for receipt in receipts):
        return receipts
    if not any(receipt.word is Submitted.OK for receipt in receipts):
        # The server answers for what this connection wrote last, and it has written nothing yet.
        yield from dialogue.calls([("HINCRBY", keys.counts, "resubmitted", "1")])
    held = (yield from _holders(asked)) >= asked.replicas
    return [replace(one, confirmed=held) if one.accepted else one for one in receipts]


def _holders(asked: Replicated) -> Dialogue[int]:
    """Return how many replicas hold what this connection wrote; -1 without our own disk."""
    count, patience = str(asked.replicas), str(asked.wait_ms)
    try:
        ((own, others),) = yield from dialogue.calls([("WAITAOF", "1", count, patience)])
    except (StoreFault, Unusable):
        (others,) = yield from dialogue.calls([("WAIT", count, patience)])
        return int(others)
    return int(others) if own else -1
