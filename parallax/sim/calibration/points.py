"""What was measured of an engine: requests with their times, and the points of curves.

Times are milliseconds of one clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: An answer to the same prompt that begins within this share of the time was in a cache.
QUICKER = 0.5


@dataclass(frozen=True, slots=True)
class Timed:
    """One streamed request. `pieces` are the times at which something of the answer came."""

    sent_ms: float
    pieces: tuple[float, ...]
    end_ms: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int

    @property
    def first_ms(self) -> float:
        """When the first piece came."""
        return self.pieces[0] if self.pieces else self.end_ms

    @property
    def ttft_ms(self) -> float:
        """How long the first piece took."""
        return self.first_ms - self.sent_ms

    @property
    def e2e_ms(self) -> float:
        """How long all of it took."""
        return self.end_ms - self.sent_ms


@dataclass(frozen=True, slots=True)
class Prefill:
    """How long a request alone in the engine waited for its first token."""

    prompt_tokens: int
    cached_tokens: int
    ttft_ms: float

    @property
    def computed(self) -> int:
        """Prompt tokens that were not found in the cache; the last one is computed anyway."""
        return max(1, self.prompt_tokens - self.cached_tokens)


@dataclass(frozen=True, slots=True)
class Decode:
    """How long a step took that gave each of so many requests a token."""

    sequences: int
    context_tokens: float  # of all of them together
    step_ms: float


def prefill_of(timed: Timed) -> Prefill:
    """Return the point of a request that was alone."""
    return Prefill(timed.prompt_tokens, timed.cached_tokens, timed.ttft_ms)


def again_of(cold: Timed, warm: Timed) -> Prefill:
    """Return the point of a prompt that was asked again at once.

    An engine that does not tell what it found in its cache shows it by its time.
    """
    found = warm.cached_tokens
    if not found and warm.ttft_ms < QUICKER * cold.ttft_ms:
        found = warm.prompt_tokens - 1
    return Prefill(warm.prompt_tokens, found, warm.ttft_ms)


def decode_of(together: Sequence[Timed]) -> Decode | None:
    """Return the point of requests that decoded together, seen while all of them did.

    None where that time holds too few pieces to say anything.
    """
    begin = max(one.first_ms for one in together)
    end = min(one.pieces[-1] if one.pieces else one.end_ms for one in together)
    steps, context = [], 0.0
    for one in together:
        within = sum(1 for at in one.pieces if begin < at <= end)
        before = sum(1 for at in one.pieces if at <= begin)
        each = one.output_tokens / max(1, len(one.pieces))  # a piece may hold several tokens
        steps.append(within * each)
        context += one.prompt_tokens + (before + within / 2) * each
    counted = median(steps)
    if end <= begin or counted < 2:
        return None
    return Decode(len(together), context, (end - begin) / counted)


def at_once(together: Sequence[Timed]) -> int:
    """Return how many of these requests ran at the same time, at most."""
    changes = [(one.first_ms, 1) for one in together] + [(one.end_ms, -1) for one in together]
    most = running = 0
    for _, change in sorted(changes):  # whoever ends in the same moment ends first
        running += change
        most = max(most, running)
    return most
