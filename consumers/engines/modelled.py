"""What the engines have in common that run the pure model: `clock` and `cpu`."""

from __future__ import annotations

from collections.abc import Mapping

from consumers.engines.interface import Progress
from parallax.core.clock import Clock
from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Request


class ModelledEngine:
    """The pure batching engine, `speed` times faster than its profile."""

    def __init__(
        self, profile: Profile, speed: float, clock: Clock, *, exact: bool = False
    ) -> None:
        self._engine = BatchEngine(profile, exact=exact)
        self._profile, self._speed, self._clock = profile, speed, clock
        self.slots, self.kv_capacity = profile.max_seqs, profile.kv_capacity

    @property
    def kv_used(self) -> float:
        """See `interface.Engine`."""
        return self._engine.kv_used

    @property
    def room(self) -> int:
        """See `interface.Engine`."""
        return self._engine.room

    def add(self, request: Request) -> None:
        """See `interface.Engine`."""
        self._engine.add(request)

    def cancel(self, request_id: str) -> int | None:
        """See `interface.Engine`."""
        return self._engine.cancel(request_id)

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {"profile": self._profile.name, "speed": self._speed}


def progress_at(at: float, change: Change) -> Progress:
    """Return a change of the pure engine as something that happened at that time."""
    return Progress(
        change.id,
        at,
        change.output_tokens,
        change.prompt_tokens,
        change.cached_tokens,
        change.first_token,
        change.finished,
    )
