"""`noop`: ends everything at once. For measuring what surrounds an engine."""

from __future__ import annotations

from collections.abc import Mapping

from parallax.consumers.engines.interface import Progress
from parallax.engine.request import Consumed, Request


class NoopEngine:
    """Every request has its first and last token as soon as it is asked for."""

    name = "noop"
    kv_capacity = 0
    kv_used = 0.0

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._requests: list[Request] = []

    @property
    def room(self) -> int:
        """See `interface.Engine`."""
        return self.slots - len(self._requests)

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        self._requests.append(request)

    def cancel(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`: what has not ended has consumed nothing."""
        left = [r for r in self._requests if r.id != request_id]
        here, self._requests = len(left) < len(self._requests), left
        return Consumed() if here else None

    def advance(self, now: float) -> list[Progress]:
        """See `interface.Engine`."""
        requests, self._requests = self._requests, []
        return [
            Progress(r.id, now, r.output_tokens or 1, r.prompt_tokens, 0, True, True)
            for r in requests
        ]

    def next_due(self, now: float) -> float | None:
        """See `interface.Engine`."""
        return now if self._requests else None

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {}
