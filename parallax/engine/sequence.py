"""A request while it is in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parallax.engine.request import Change, Consumed, Request


@dataclass(slots=True)
class Piece:
    """How named pieces of a context lie in KV memory: each `tokens` long, in `blocks` blocks.

    Names may be finer than blocks; then every `stride`-th one counts. Where neither divides the
    other nothing can be shared, and `tokens` is 0.
    """

    tokens: int
    blocks: int
    stride: int


def piece_of(prefix_block: int, block_size: int) -> Piece:
    """Return how names of `prefix_block` tokens (0: none) lie in blocks of `block_size` tokens."""
    if prefix_block % block_size == 0:
        return Piece(prefix_block, prefix_block // block_size, 1)
    if block_size % prefix_block == 0:
        return Piece(block_size, 1, block_size // prefix_block)
    return Piece(0, 0, 1)


@dataclass(slots=True)
class Seq:
    """A request: `computed` of `target` tokens are prefilled, and after that it decodes."""

    request: Request
    length: int
    target: int
    since_ms: float
    piece: Piece
    computed: int = 0
    cached: int = 0
    output: int = 0  # tokens produced before the decoding that is under way
    start: int = -1  # the engine's step count when that began; -1 = it does not decode
    load_tokens: int = 0  # that come from DRAM with its first chunk
    begun: bool = False  # it has had its first token, before a preemption perhaps
    began_ms: float | None = None  # when it first joined the batch
    most_computed: int = 0  # tokens of its prompt, before a preemption perhaps
    pins: list[int] = field(default_factory=list)
    named: int = 0  # of its whole pieces, those that have a name in the cache

    @property
    def end(self) -> int:
        """The step count at which it has said all."""
        return self.start + self.length - self.output

    def produced(self, steps: int) -> int:
        """Return how many tokens it has said when the engine has taken so many steps."""
        return self.output + (steps - self.start if self.start >= 0 else 0)

    def consumed(self, steps: int, row: Row | None) -> Consumed:
        """Return what it has consumed at that step count, a single step under way included."""
        prompt, output = self.request.prompt_tokens, self.produced(steps)
        under_way = 0
        if row is not None:
            under_way = sum(tokens for seq, tokens in row.chunks if seq is self)
            output += self.start >= 0 or self.computed + under_way == self.target
        most = prompt if self.begun else max(self.most_computed, self.computed + under_way)
        return Consumed(min(most, prompt), min(output, self.length), min(self.cached, prompt))

    def room(self, steps: int) -> int:
        """Return for how many tokens it holds memory: its context and one more."""
        return self.target + 1 + (steps - self.start if self.start >= 0 else 0)

    def names(self, tokens: int) -> Sequence[int]:
        """Return the names of the whole pieces among its first so many tokens."""
        piece = self.piece
        if not piece.tokens:
            return ()
        names = self.request.blocks(tokens)
        if piece.stride > 1:
            names = names[piece.stride - 1 :: piece.stride]
        return names[: max(0, tokens) // piece.tokens]

    def change(self, at_ms: float, output: int, *, first: bool, finished: bool) -> Change:
        """Return the news that it has had so many tokens."""
        request = self.request
        tokens, cached = request.prompt_tokens, min(self.cached, request.prompt_tokens)
        began = at_ms if self.began_ms is None else self.began_ms
        return Change(request.id, at_ms, output, tokens, cached, first, finished, began)


@dataclass(frozen=True, slots=True)
class Row:
    """Steps under way: one with chunks of prompts, or some of pure decoding."""

    steps: int
    duration_ms: float
    chunks: tuple[tuple[Seq, int], ...] = ()
