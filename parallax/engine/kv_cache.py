"""KV memory in blocks, with a prefix cache and an optional second tier in DRAM.

A block is free, private to one running request, or *named*: its name is a chained hash of all that
its context begins with, so equal names mean equal content and the block can be shared. A named
block in use is pinned; one that nobody uses stays until the memory is needed, and the least
recently used goes first, a chain's tail before its head (vLLM, SOSP'23). An evicted block falls
into DRAM, if there is any, from where it can be loaded instead of computed (Mooncake, FAST'25).

    free + idle + pinned + private = blocks        at all times
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hit:
    """How much of a prefix is at hand: leading named units in the cache, and after them in DRAM."""

    units: int = 0
    loads: int = 0
    idle: int = 0  # of `units`, those that nobody has pinned


NOTHING = Hit()


@dataclass(slots=True)
class KvCache:
    """`blocks` of KV memory and `dram` more behind it. A name stands for `unit` blocks.

    The unit is that of the first name seen; a name of another size is refused by `lookup`, which
    then finds nothing, and by `share`, which then keeps the block private.
    """

    blocks: int
    dram: int = 0
    evictions: int = 0
    unit: int = 0
    _free: int = -1
    _pins: dict[int, int] = field(default_factory=dict)
    _idle: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _cold: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._free = self.blocks

    @property
    def available(self) -> int:
        """Blocks that are free, or would be after evicting what nobody uses. O(1)."""
        return self._free + len(self._idle) * self.unit

    @property
    def used(self) -> float:
        """Share of all blocks that running requests hold, 0..1."""
        return 1.0 - self.available / self.blocks

    def lookup(self, names: Sequence[int], unit: int) -> Hit:
        """Return how much of the prefix is at hand. O(hits)."""
        if unit != self.unit:
            return NOTHING
        pins, idle, cold = self._pins, self._idle, self._cold
        unused = found = 0
        for name in names:
            if name in pins:
                found += 1
            elif name in idle:
                found += 1
                unused += 1
            else:
                break
        loads = 0
        if cold:
            for name in names[found:]:
                if name not in cold:
                    break
                loads += 1
        return Hit(found, loads, unused)

    def pin(self, names: Iterable[int]) -> None:
        """Use these cached blocks: they stay until they are let go as often."""
        for name in names:
            if name in self._pins:
                self._pins[name] += 1
            else:
                del self._idle[name]
                self._pins[name] = 1

    def unpin(self, names: Sequence[int]) -> None:
        """Let go of these blocks. The head of the chain becomes the most recently used."""
        pins = self._pins
        for name in reversed(names):
            if pins[name] > 1:
                pins[name] -= 1
            else:
                del pins[name]
                self._idle[name] = None

    def share(self, name: int, unit: int) -> bool:
        """Name a private unit of blocks that was just computed, and pin it for its owner.

        False if it must stay private: somebody else computed the same content meanwhile.
        """
        if not self.unit:
            self.unit = unit
        if unit != self.unit or name in self._pins or name in self._idle:
            return False
        self._pins[name] = 1
        return True

    def take(self, blocks: int) -> None:
        """Take so many blocks, evicting what nobody uses; the caller knows they are available."""
        if blocks > self.available:
            raise ValueError(f"{blocks} KV blocks wanted, {self.available} available")
        while self._free < blocks:
            self._evict()
        self._free -= blocks

    def give(self, blocks: int) -> None:
        """Return private blocks."""
        self._free += blocks

    def _evict(self) -> None:
        name, _ = self._idle.popitem(last=False)
        self._free += self.unit
        self.evictions += 1
        if self.dram >= self.unit:
            self._cold[name] = None
            self._cold.move_to_end(name)
            if len(self._cold) * self.unit > self.dram:
                self._cold.popitem(last=False)
