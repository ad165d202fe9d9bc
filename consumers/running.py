"""An attempt while its worker's engine has it."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.broker.store.attempts import Attempt
from parallax.engine.request import Consumed


@dataclass(slots=True)
class Running:
    """An attempt in the engine."""

    attempt: Attempt
    added: float  # monotonic seconds
    joined: float | None = None  # the batch; None as long as that is not known
    first: float | None = None
    tokens: int = 0
    cached: int = 0
    prompt: int = 0  # tokens of it that were computed, or found in a cache

    def stopped(self, consumed: Consumed | None) -> None:
        """The engine has let go of it; what it had consumed is paid for."""
        if consumed is not None:
            self.prompt = max(self.prompt, consumed.prompt_tokens)
            self.tokens = max(self.tokens, consumed.output_tokens)
            self.cached = max(self.cached, consumed.cached_tokens)
