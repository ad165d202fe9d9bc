"""All requests that decode, counted once for all of them.

A step gives each of them one token and lengthens each context by one. So their total context, the
duration of many steps and the blocks they will need follow from four numbers: how many they are,
their context in all, the steps taken, and for each offset within a block how many stand there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

from parallax.engine.cost_model import StepCost


@dataclass(slots=True)
class Decodes:
    """See the module's docstring. Every method is O(1), `growth` O(block size)."""

    cost: StepCost
    block_size: int
    factor: float = 1.0  # steps take so many times longer
    count: int = 0
    context: int = 0  # tokens
    steps: int = 0
    _offsets: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._offsets = [0] * self.block_size

    def join(self, context: int, room: int) -> None:
        """A request with so much context, and memory for `room` tokens, decodes from now on."""
        self.count += 1
        self.context += context
        self._offsets[(room - self.steps) % self.block_size] += 1

    def leave(self, context: int, room: int) -> None:
        """It does so no longer; the arguments are its present ones."""
        self.count -= 1
        self.context -= context
        self._offsets[(room - self.steps) % self.block_size] -= 1

    def advance(self, steps: int) -> None:
        """So many steps have been taken."""
        self.context += self.count * steps
        self.steps += steps

    def growth(self, steps: int) -> int:
        """Return how many more blocks all of them need for so many more steps."""
        size, offsets, now = self.block_size, self._offsets, self.steps
        # A request at a whole number of blocks needs another one for the next token.
        if steps == 1:
            return offsets[-now % size]
        rounds, rest = divmod(steps, size)
        blocks = rounds * self.count
        for step in range(now, now + rest):
            blocks += offsets[-step % size]
        return blocks

    def affordable(self, steps: int, blocks: int) -> int:
        """Return how many of so many steps these free blocks suffice for, at least 1."""
        if self.growth(steps) <= blocks:
            return steps
        low, high = 1, steps
        while high - low > 1:
            middle = (low + high) // 2
            if self.growth(middle) <= blocks:
                low = middle
            else:
                high = middle
        return low

    def duration_ms(self, steps: int) -> float:
        """Return how long so many steps take when nothing else is computed."""
        return self.cost.decodes_ms(steps, self.count, self.context) * self.factor

    def steps_within(self, ahead_ms: float, most: int) -> int:
        """Return how many steps (0..most) end within a time.

        k steps take a*k + b*k*(k-1)/2: the root of that, mended for rounding.
        """
        one = self.duration_ms(1)
        if ahead_ms < one:
            return 0
        grow = self.duration_ms(2) - 2 * one
        if grow > one * 1e-12:
            half = one / grow - 0.5
            steps = int(sqrt(half * half + 2 * ahead_ms / grow) - half)
        else:
            steps = int(ahead_ms / one) if one > 0 else most
        steps = min(max(steps, 1), most)
        while steps < most and self.duration_ms(steps + 1) <= ahead_ms:
            steps += 1
        while steps > 1 and self.duration_ms(steps) > ahead_ms:
            steps -= 1
        return steps
