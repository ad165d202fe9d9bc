"""An attempt while its worker's engine has it."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.broker.attempts import Attempt


@dataclass(slots=True)
class Running:
    """An attempt in the engine."""

    attempt: Attempt
    added: float  # monotonic seconds
    joined: float | None = None  # the batch; None as long as that is not known
    first: float | None = None
    tokens: int = 0
    cached: int = 0
