"""Operations as values: a command for Redis, and the decoder of its reply.

A pure function builds a `Call` (one run of a script) or `Commands` (plain commands in one write); a
`Link` carries it out and waits, an `AsyncLink` carries it out among others. So every operation
exists once, for links that wait and for links that await.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from parallax.broker.link.scripts import Argument, Script

R_co = TypeVar("R_co", covariant=True)
Reply = Any


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """One run of a script: its declared keys, its arguments, and the decoder of its flat reply.

    `decode` may raise errors of `parallax.core.errors`, `Fenced` among them; it sees no I/O. Calls
    are safe to repeat: scripts answer the same when they are run twice.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]
    decode: Callable[[list[bytes]], R_co]

    @property
    def command(self) -> list[Argument]:
        """The command that runs the script by its digest."""
        return self.script.invocation(self.keys, self.args)

    @property
    def command_with_text(self) -> list[Argument]:
        """The command that brings the script's text, for a server that lacks it."""
        return ["EVAL", self.script.text, len(self.keys), *self.keys, *self.args]


@dataclass(frozen=True, slots=True)
class Commands(Generic[R_co]):
    """Plain commands that are sent in one write, and the decoder of their replies, in order.

    Whether they may be repeated is for each to say: reads may.
    """

    commands: Sequence[Sequence[Argument]]
    decode: Callable[[list[Reply]], R_co]
