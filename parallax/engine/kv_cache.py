"""KV memory in blocks: what running requests hold, and what ended ones left for their session.

A simulated job carries no text. A later turn of the same session is taken to extend what the
session has said so far, so its prefix is what the session left in the cache. Only whole blocks are
shared, and at least the last prompt token is always computed afresh (vLLM, SOSP'23).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class KvCache:
    """Blocks of `block_size` tokens; `kept` blocks are evicted session by session, oldest first."""

    blocks: int
    block_size: int
    _held: dict[str, int] = field(default_factory=dict)  # request -> blocks
    _kept: OrderedDict[str, int] = field(default_factory=OrderedDict)  # session -> blocks
    _free: int = -1

    def __post_init__(self) -> None:
        self._free = self.blocks

    @property
    def used(self) -> float:
        """Share of all blocks that running requests hold, 0..1 (kept blocks can be evicted)."""
        return sum(self._held.values()) / self.blocks

    @property
    def available(self) -> int:
        """Blocks that are free, or would be after evicting what is kept."""
        return self._free + sum(self._kept.values())

    def needed(self, tokens: int) -> int:
        """Return how many blocks that many tokens take."""
        return -(-tokens // self.block_size)

    def acquire(self, request: str, session: str, tokens: int) -> int:
        """Give a request room for its prompt; return how many of its tokens are cached already.

        The caller has made sure that enough blocks are available.
        """
        left = self._kept.pop(session, 0) if session else 0
        shared = min(left, (tokens - 1) // self.block_size if tokens else 0)
        self._free += left - shared
        self._held[request] = shared
        self.grow(request, tokens)
        return shared * self.block_size

    def grow(self, request: str, tokens: int) -> bool:
        """Give a running request room for `tokens` in all; False when no block is left."""
        more = self.needed(tokens) - self._held[request]
        if more <= 0:
            return True
        while self._free < more and self._kept:
            self._free += self._kept.popitem(last=False)[1]
        if self._free < more:
            return False
        self._free -= more
        self._held[request] += more
        return True

    def release(self, request: str, session: str = "", tokens: int = 0) -> None:
        """Take a request's blocks back; with a session, keep its whole blocks for the next turn."""
        held = self._held.pop(request)
        keep = min(held, tokens // self.block_size) if session else 0
        self._free += held - keep
        if keep:
            self._free += self._kept.pop(session, 0)
            self._kept[session] = keep
