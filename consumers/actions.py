"""The actions of a desk. Those for the engine cannot fail and come first; the others are asked of
the store, each kind once at a time, and are asked again until they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.broker.store.attempts import Assignment, Attempt, Finish
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.relay import Chunk
from parallax.engine.request import Request


@dataclass(frozen=True, slots=True)
class Add:
    """Give an attempt to the engine."""

    attempt: Attempt
    request: Request


@dataclass(frozen=True, slots=True)
class Drop:
    """Take an attempt out of the engine. Answered by `Stopped`."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Restart:
    """Read the streams from their beginning from now on. Not answered."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Move entries that cannot be understood to the dead letters. Not answered."""

    junk: Sequence[tuple[Entry, str]]


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell viewers of first tokens, and the scheduler of the attempts that `began`. Not answered.

    Nothing hangs on it: it is not asked again.
    """

    told: Sequence[tuple[Attempt, str, int]]
    began: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Relay:
    """Send chunks of answers to the waiting clients. Answered by `Relayed`."""

    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class End:
    """Write the ends of attempts. Answered by `Ended`."""

    finishes: Sequence[Finish]


@dataclass(frozen=True, slots=True)
class Begin:
    """Take the last look before running. Answered by `Begun`."""

    assignments: Sequence[Assignment]
    with_bodies: bool


@dataclass(frozen=True, slots=True)
class Look:
    """See whether anybody still wants these. Answered by `Looked`."""

    attempts: Sequence[Attempt]


Action = Add | Drop | Restart | Quarantine | Tell | Relay | End | Begin | Look
