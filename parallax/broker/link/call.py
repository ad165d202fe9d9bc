"""Operations as values: what a script is called with, and how its reply is to be understood.

A pure function builds a `Call`; a `Link` runs it and waits, an `AsyncLink` runs it among others.
So every operation exists once, whoever waits for it and however.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from parallax.broker.link.scripts import Argument, Script

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One run of a script: its declared keys, its arguments, and the decoder of its flat reply.

    `decode` may raise errors of `parallax.core.errors`, `Fenced` among them; it sees no I/O. Calls
    are safe to repeat: scripts answer the same when they are run twice.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]
    decode: Callable[[list[bytes]], R]
