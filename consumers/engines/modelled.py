"""The common base of the engines that run the pure model: `clock`, `cpu` and `echo`."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from parallax.consumers.engines.interface import Done, Event, Host, Started
from parallax.core.clock import Clock
from parallax.engine.batch import BatchEngine, BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request


class ModelledEngine:
    """The pure batching engine, `speed` times faster than its profile.

    A request joins when the profile's time of a request has passed, and its KV cache has arrived
    if another worker computed its prompt, which takes as long as the profile says; `batching`
    decides who joins a batch when (None: all that fit).
    """

    reads_bodies = False
    ready = True
    _host: Host

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
        self._coming: list[tuple[float, str, Request]] = []  # by when they can join
        self.slots, self.kv_capacity = profile.max_seqs, profile.kv_capacity

    @property
    def kv_used(self) -> float:
        """See `interface.Engine`."""
        return self._engine.kv_used

    def start(self, host: Host) -> None:
        """See `interface.Engine`."""
        self._host = host

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        about: dict[str, str | int | float] = {"profile": self._profile.name, "speed": self._speed}
        if self._profile.dram_tokens:
            about["dram_tokens"] = self._profile.dram_tokens
        return about

    def _take(self, request: Request, now: float) -> None:
        takes_ms = self._takes_ms(request)
        if not takes_ms:
            self._engine.add(request)
            return
        self._engine.check(request)
        due = now + takes_ms / 1000 / self._speed
        heapq.heappush(self._coming, (due, request.id, request))

    def _takes_ms(self, request: Request) -> float:
        """Return how long it takes until a request can join, in engine time."""
        profile = self._profile
        if not request.prefilled:
            return profile.request_ms
        transfer_ms = profile.transfer_setup_ms + profile.transfer_ms * request.prompt_tokens
        return profile.request_ms + transfer_ms

    def _drop(self, request_id: str) -> Consumed | None:
        for arrival in self._coming:
            if arrival[1] == request_id:
                self._coming.remove(arrival)
                heapq.heapify(self._coming)
                if not arrival[2].prefilled:
                    return Consumed()
                return Consumed(arrival[2].prompt_tokens, 1)  # computed by who sent it
        return self._engine.cancel(request_id)

    def _transferred(self, now: float) -> tuple[float, Request] | None:
        """Take a request that can join, with the time since when; None if there is none."""
        if not self._coming or self._coming[0][0] > now:
            return None
        due, _, request = heapq.heappop(self._coming)
        return due, request

    def _next_transfer(self) -> float | None:
        return self._coming[0][0] if self._coming else None


def event_of(change: Change, at: float, joined_at: float | None = None) -> Event:
    """Return a change of the pure engine as something that happened at that time."""
    if not change.finished:
        return Started(change.id, at, change.output_tokens, change.cached_tokens, joined_at)
    return Done(
        change.id,
        at,
        change.output_tokens,
        change.cached_tokens,
        joined_at,
        at if change.first_token else None,
    )


def events_of(changes: Sequence[Change], at: float) -> list[Event]:
    """Return changes of the pure engine as things that happened together."""
    return [event_of(change, at) for change in changes]
