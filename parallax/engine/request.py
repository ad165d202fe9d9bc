"""The requests that an engine takes and the results that it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.prefix import conversation


@dataclass(frozen=True, slots=True)
class Request:
    """A job as the engine sees it. `output_tokens` None: the engine makes up a length.

    `prefix` names the whole blocks of `prefix_block` tokens that the prompt begins with. Without
    one, a request of a session is taken to extend what the session has said so far.
    """

    id: str
    session: str
    prompt_tokens: int
    max_tokens: int
    output_tokens: int | None = None
    prefix: Sequence[int] = ()
    prefix_block: int = 16
    prefilled: bool = False  # another worker computed the prompt and its first token
    factor: float = 1.0  # steps take so many times longer while it runs
    body: bytes = b""  # the request's body, for an engine that reads it
    stream: bool = False  # whether the answer is wanted piece by piece
    model: str = ""  # the one that is asked, where an engine serves several; '' = as the body says
    trace: str = ""  # the context (W3C's `traceparent`) of whoever asks, for an engine that tells

    @property
    def length(self) -> int:
        """The length of the answer in tokens, at least 1.

        Where it is not given it is between a quarter and all of `max_tokens`, drawn from a hash of
        the id, so that a repeated attempt gives the same answer.
        """
        if self.output_tokens is not None:
            return max(1, self.output_tokens)
        digest = hashlib.blake2b(self.id.encode(), digest_size=8).digest()
        share = 0.25 + 0.75 * int.from_bytes(digest, "big") / 2**64
        return max(1, round(self.max_tokens * share))

    def blocks(self, tokens: int) -> Sequence[int]:
        """Return the names of the whole blocks among the first so many tokens of its context.

        What is said after the prompt has a name only in a session.
        """
        if self.prefix:
            return self.prefix
        if self.session:
            return conversation(self.session, tokens // self.prefix_block)
        return ()


@dataclass(frozen=True, slots=True)
class Consumed:
    """The tokens that a request has consumed so far: its charge if it is stopped now.

    `prompt_tokens` were computed or found in a cache, `cached_tokens` of them were found. A step
    that is under way counts: it ends as planned, though requests leave meanwhile.
    """

    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a request at engine time `at_ms`."""

    id: str
    at_ms: float
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    first_token: bool
    finished: bool
    began_ms: float  # when it first joined the batch
