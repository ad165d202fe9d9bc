"""Which worker is thought to hold which block of KV cache.

Names of blocks are chained (see `core.prefix`), so a worker that holds a name is taken to hold what
comes before it, and what a job would find there is the length of the run of names that it holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from parallax.core.model import check_int


@dataclass(slots=True)
class PrefixIndex:
    """At most `capacity` blocks per worker; the least recently used are forgotten first.

    Every block has a set of holders in one integer, a bit for each worker, so that looking a prefix
    up costs one step per block, however many workers there are.
    """

    capacity: int
    _holders: dict[int, int] = field(default_factory=dict)
    _blocks: dict[str, OrderedDict[int, None]] = field(default_factory=dict)
    _bits: dict[str, int] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)  # bit -> worker

    def __post_init__(self) -> None:
        check_int("capacity", self.capacity, 1, 10**9)

    def matches(self, names: Sequence[int]) -> dict[str, int]:
        """Return how many leading blocks each worker holds; those with none are left out.

        O(blocks + workers).
        """
        found: dict[str, int] = {}
        holders, alive = self._holders, -1
        for depth, name in enumerate(names):
            holding = holders.get(name, 0) & alive
            if holding != alive:
                if depth:
                    self._note(alive & ~holding, depth, found)
                alive = holding
                if not alive:
                    return found
        if names:
            self._note(alive, len(names), found)
        return found

    def match(self, names: Sequence[int], worker: str) -> int:
        """Return how many leading blocks this worker holds."""
        held = self._blocks.get(worker)
        if not held:
            return 0
        for depth, name in enumerate(names):
            if name not in held:
                return depth
        return len(names)

    def insert(self, names: Sequence[int], worker: str, capacity: int = 0) -> None:
        """A worker computes these blocks now; `capacity` is how many it has room for.

        The head of the chain becomes the most recently used, so a chain is forgotten from its tail.
        O(blocks).
        """
        held = self._blocks.get(worker)
        if held is None:
            held = self._blocks[worker] = OrderedDict()
            self._name(worker)
        bit, holders = self._bits[worker], self._holders
        known, touch = holders.get, held.move_to_end  # looked up once: a prompt may have thousands
        for name in reversed(names):
            if name in held:
                touch(name)
            else:
                held[name] = None
                holders[name] = known(name, 0) | bit
        room = min(capacity, self.capacity) if capacity else self.capacity
        for _ in range(len(held) - room):
            name, _ = held.popitem(last=False)
            left = holders[name] & ~bit
            if left:
                holders[name] = left
            else:
                del holders[name]

    def __contains__(self, worker: str) -> bool:
        """Whether anything is known of this worker."""
        return worker in self._blocks

    def forget(self, worker: str) -> None:
        """A worker is gone, and all it held. O(its blocks)."""
        bit = self._bits.pop(worker, 0)
        for name in self._blocks.pop(worker, {}):
            self._let_go(name, bit)
        self._names.pop(bit, None)

    def __len__(self) -> int:
        """How many blocks all workers hold together, copies counted."""
        return sum(len(held) for held in self._blocks.values())

    def _name(self, worker: str) -> None:
        """Give a worker the lowest bit that is free."""
        bit = 1
        while bit in self._names:
            bit <<= 1
        self._bits[worker], self._names[bit] = bit, worker

    def _let_go(self, name: int, bit: int) -> None:
        left = self._holders[name] & ~bit
        if left:
            self._holders[name] = left
        else:
            del self._holders[name]

    def _note(self, workers: int, depth: int, found: dict[str, int]) -> None:
        while workers:
            bit = workers & -workers
            found[self._names[bit]] = depth
            workers ^= bit
