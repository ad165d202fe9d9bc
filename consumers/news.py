"""The input events of a desk: from its streams, the store, its engine, and its process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.broker.store.attempts import Assignment, Attempt, Cancellation
from parallax.broker.store.dispatch import Entry
from parallax.consumers.actions import Action
from parallax.consumers.engines.interface import Event
from parallax.engine.request import Consumed


@dataclass(frozen=True, slots=True)
class Read:
    """The entries of the worker's streams: assignments and orders in their order, and junk.

    `drain`: among the orders was one to leave.
    """

    assignments: Sequence[Assignment] = ()
    orders: Sequence[Cancellation] = ()
    junk: Sequence[tuple[Entry, str]] = ()
    drain: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer to `Begin`: attempts that may run, expired ones, and unreadable ones.

    An attempt in none of the lists is not wanted any more.
    """

    running: Sequence[Attempt] = ()
    expired: Sequence[Attempt] = ()
    spoilt: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to an `Add`: the engine can never serve this."""

    job_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The answer to a `Drop`; it comes before any event of the job's next attempt."""

    job_id: str
    consumed: Consumed | None


@dataclass(frozen=True, slots=True)
class Relayed:
    """The answer to `Relay`: `ok` or `stop` for each chunk."""

    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer to `End`: the store knows of all these ends."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The answer to `Look`: the jobs of these attempts have ended without them."""

    ended: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Undone:
    """The store gave no answer to these actions; they may have been carried out or not."""

    actions: Sequence[Action]


@dataclass(frozen=True, slots=True)
class Fresh:
    """Whether the heartbeat has surely not expired: if not, others may be given our jobs."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class Reborn:
    """We were believed dead and our streams were deleted."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no new work; end what runs, give the rest back. `since` is in monotonic seconds."""

    since: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The same, and what runs is handed over now."""


News = (
    Read | Begun | Refused | Stopped | Relayed | Ended | Looked | Undone | Fresh | Reborn | Drain
    | Leave | Event
)  # fmt: skip
