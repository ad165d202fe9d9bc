"""How long a step of a batching engine takes.

    step = base + prefill * (prompt tokens) + decode * (sequences) + kv * (KV tokens read)
         + quad * sum over chunks of tokens * (context before + tokens / 2)

The form is that of the roofline: weights are read once per step (base), GEMMs grow with the tokens
computed, attention reads the KV cache, and a prefill chunk attends to everything before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from parallax.core.model import check_number


@dataclass(frozen=True, slots=True)
class StepCost:
    """Constants of one model on one kind of hardware."""

    base_ms: float  # per step, once there is work
    prefill_ms: float  # per prompt token
    decode_ms: float  # per sequence that gets a token
    kv_us: float  # per token of KV cache read, microseconds
    quad_ms: float  # per chunk token and context token
    load_ms: float = 0.005  # per token brought back from DRAM (131 kB over 25 GB/s)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_number(name, getattr(self, name), 0.0, 1e6)

    def step_ms(self, chunks: Iterable[tuple[int, int]], sequences: int, kv_tokens: int) -> float:
        """Return the duration of a step in ms.

        `chunks` are (tokens, context before them) of prefills; `sequences` decode one token each
        and read `kv_tokens` of context in all. O(chunks).
        """
        total = self.base_ms + self.decode_ms * sequences + self.kv_us * kv_tokens / 1000
        for tokens, before in chunks:
            total += self.prefill_ms * tokens + self.quad_ms * tokens * (before + tokens / 2)
        return total

    def decodes_ms(self, steps: int, sequences: int, kv_tokens: int) -> float:
        """Return the duration of that many pure decode steps in a row. O(1).

        Every step lengthens each context by one token, so the KV term is an arithmetic series.
        """
        read = steps * kv_tokens + sequences * steps * (steps - 1) // 2
        return steps * (self.base_ms + self.decode_ms * sequences) + self.kv_us * read / 1000
