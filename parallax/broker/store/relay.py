"""Answers in pieces: what a worker sends of an answer while it comes, and the order to read it.

The first piece claims the job for its attempt (`lua/relay.lua`): a client never sees pieces of
two attempts. A piece names its attempt and its place, so that a repeated piece is read once, and
a missing one is an error to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from parallax.broker.link.call import Call
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon
from parallax.broker.store.codec import whole
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.errors import BrokenAnswer, InvalidInput
from parallax.core.words import Relayed

if TYPE_CHECKING:
    from parallax.broker.store.attempts import Attempt

#: Most bytes of pieces in one call; one piece alone may be longer.
MOST_BYTES = 1 << 20

_MOST = 2**52
_RELAYED = Lexicon(Relayed)


class Chunk(Struct, frozen=True):
    """A piece of an attempt's answer; `sequence` counts them from 0, without a gap."""

    attempt: Attempt
    sequence: int
    data: bytes


class Piece(Struct, frozen=True):
    """The same as it is read."""

    attempt: int
    sequence: int
    data: bytes


def decode_piece(text: bytes) -> Piece:
    """Decode what follows the word `chunk`; raises InvalidInput."""
    parts = text.split(b" ", 2)
    if len(parts) != 3:
        raise InvalidInput("chunk", text[:60], "attempt, sequence and bytes")
    attempt = whole("chunk.attempt", parts[0], 1_000_000)
    return Piece(attempt, whole("chunk.sequence", parts[1], _MOST), parts[2])


def pages_of(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """Yield them in parts that the server takes in a few milliseconds each."""
    start = size = 0
    for place, chunk in enumerate(chunks):
        if place > start and size + len(chunk.data) > MOST_BYTES:
            yield chunks[start:place]
            start, size = place, 0
        size += len(chunk.data)
    if start < len(chunks):
        yield chunks[start:]


def relay_call(
    keys: Keys, limits: Limits, worker: str, chunks: Sequence[Chunk]
) -> Call[list[Relayed]]:
    """Build what sends pieces of answers; it says a word for each piece."""
    attempts: dict[tuple[str, str], int] = {}
    outs: dict[str, int] = {}
    heads: list[Argument] = []
    rows: list[Argument] = []
    places: list[int] = []
    names: list[str] = []
    for chunk in chunks:
        attempt = chunk.attempt
        number, reply = attempt.assignment.attempt, attempt.reply
        place = attempts.setdefault((attempt.job_id, number), len(attempts) + 1)
        if place > len(names):
            names.append(keys.job(attempt.job_id))
            out: Argument = outs.setdefault(reply, len(outs) + 1) if reply else ""
            own = int(reply == attempt.job_id)
            heads += (attempt.job_id, attempt.assignment.entry, number, out, own)
        places.append(place)
        rows += (place, chunk.sequence, chunk.data)
    head: list[Argument] = [
        worker, limits.log_entries, limits.out_ttl_ms, limits.out_entries, len(outs),
        len(attempts), len(chunks),
    ]  # fmt: skip
    return Call(
        script("relay"),
        [keys.events, *map(keys.out, outs), *names],
        head + heads + rows,
        lambda reply: [_RELAYED[reply[place - 1]] for place in places],
    )


@dataclass(slots=True)
class InOrder:
    """The pieces of one job as they must be read: in order, each once, all of one attempt."""

    attempt: int = 0
    due: int = field(default=0)  # the sequence of the next piece

    def take(self, piece: Piece) -> bytes | None:
        """Return the new part of a piece; None for one that was read before.

        Raises BrokenAnswer if one is missing before it, or if it is of another attempt.
        """
        if self.due and piece.attempt != self.attempt:
            raise BrokenAnswer(f"a part of attempt {piece.attempt} follows parts of {self.attempt}")
        if piece.sequence < self.due:
            return None
        if piece.sequence > self.due:
            raise BrokenAnswer(f"part {piece.sequence} came where part {self.due} was due")
        self.attempt, self.due = piece.attempt, self.due + 1
        return piece.data
