"""What runs inside a worker. Implementations: `cpu`, `clock`, `noop`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from parallax.engine.request import Consumed, Request


@dataclass(frozen=True, slots=True)
class Progress:
    """A request got its first token or ended, at monotonic time `at` (seconds)."""

    id: str
    at: float
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    first_token: bool
    finished: bool
    joined_at: float | None = None  # when it joined the batch, where that is known


class Engine(Protocol):
    """A batching engine that lives in real time. Times are monotonic seconds."""

    name: str
    slots: int  # requests that run at once
    kv_capacity: int  # tokens of KV cache; 0 = not modelled

    @property
    def kv_used(self) -> float:
        """Share of KV memory in use, 0..1."""

    @property
    def room(self) -> int:
        """How many more requests it takes now."""

    def add(self, request: Request, now: float) -> None:
        """Take a request at `now`; raises InvalidInput if it can never fit.

        One that is `prefilled` starts when its KV cache has been transferred.
        """

    def cancel(self, request_id: str) -> Consumed | None:
        """Drop a request; return what it has consumed, None if it is not here or nobody knows.

        Up to now, not up to the last call of `advance`: whoever stops is charged by this.
        """

    def advance(self, now: float) -> list[Progress]:
        """Do what is due, and return what happened. May block for one step of work."""

    def next_due(self, now: float) -> float | None:
        """Return when to call `advance` again; None when there is nothing to do."""

    def describe(self) -> Mapping[str, str | int | float]:
        """What a worker registers about its engine."""
