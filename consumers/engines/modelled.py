"""What the engines have in common that run the pure model: `clock` and `cpu`."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from parallax.consumers.engines.interface import Progress
from parallax.core.clock import Clock
from parallax.engine.batch import BatchEngine, BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request


class ModelledEngine:
    """The pure batching engine, `speed` times faster than its profile.

    A request whose prompt another worker computed joins when its KV cache has arrived, which takes
    as long as the profile says; `batching` decides who joins a batch when (None: whoever fits).
    """

    def __init__(
        self,
        profile: Profile,
        speed: float,
        clock: Clock,
        *,
        exact: bool = False,
        batching: BatchingPolicy | None = None,
    ) -> None:
        self._engine = BatchEngine(profile, exact=exact, batching=batching)
        self._profile, self._speed, self._clock = profile, speed, clock
        self._coming: list[tuple[float, str, Request]] = []  # by when their KV cache is here
        self.slots, self.kv_capacity = profile.max_seqs, profile.kv_capacity

    @property
    def kv_used(self) -> float:
        """See `interface.Engine`."""
        return self._engine.kv_used

    @property
    def room(self) -> int:
        """See `interface.Engine`."""
        return max(0, self._engine.room - len(self._coming))

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        if not request.prefilled:
            self._engine.add(request)
            return
        profile = self._profile
        takes_ms = profile.transfer_setup_ms + profile.transfer_ms * request.prompt_tokens
        due = now + takes_ms / 1000 / self._speed
        heapq.heappush(self._coming, (due, request.id, request))

    def cancel(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`."""
        for arrival in self._coming:
            if arrival[1] == request_id:
                self._coming.remove(arrival)
                heapq.heapify(self._coming)
                return Consumed(arrival[2].prompt_tokens, 1)  # computed by who sent it
        return self._engine.cancel(request_id)

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {"profile": self._profile.name, "speed": self._speed}

    def _transferred(self, now: float) -> tuple[float, Request] | None:
        """Take a request whose KV cache is here, with the time it came; None if there is none."""
        if not self._coming or self._coming[0][0] > now:
            return None
        due, _, request = heapq.heappop(self._coming)
        return due, request

    def _next_transfer(self) -> float | None:
        return self._coming[0][0] if self._coming else None


def progress_at(at: float, change: Change, joined_at: float | None = None) -> Progress:
    """Return a change of the pure engine as something that happened at that time."""
    return Progress(
        change.id,
        at,
        change.output_tokens,
        change.prompt_tokens,
        change.cached_tokens,
        change.first_token,
        change.finished,
        joined_at,
    )
