"""Microbatching: wait a little for company, and never when there is work."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import BatchView, check_int, check_number
from parallax.policies.registry import BATCHING


@BATCHING.register("microbatch")
@dataclass(slots=True)
class Microbatch:
    """Hold what waits at an idle engine for up to `window_s`, or until enough has come.

    It fires when `max_size` jobs wait, or `max_tokens` of prompts, or the oldest has waited for
    `window_s`. While a batch runs, others join it at once if `join_running`; otherwise they form
    the next one when it has ended.

    A window saves the fixed cost of steps at low load only: with "take all that waits" an engine at
    high load has its batch already. The mean response grows by at most the window.

    Source: Clipper (NSDI'17) for the window; Inoue 2021 for the queue without one. Cost: O(1). Use
    it for one-shot models (embeddings, classifiers); for generation take `continuous`.
    """

    window_s: float = 0.01
    max_size: int = 32
    max_tokens: int = 8_192
    join_running: bool = True

    def __post_init__(self) -> None:
        check_number("microbatch.window_s", self.window_s, 0.0, 3_600.0)
        check_int("microbatch.max_size", self.max_size, 1, 10**6)
        check_int("microbatch.max_tokens", self.max_tokens, 1, 10**9)

    def take(self, view: BatchView) -> int:
        """See `interfaces.BatchingPolicy`."""
        if view.running:
            places = min(view.places, max(0, self.max_size - view.running))
            return min(view.waiting, places) if self.join_running else 0
        if self._complete(view):
            return min(view.waiting, view.places, self.max_size)
        return 0

    def wake_s(self, view: BatchView) -> float | None:
        """See `interfaces.BatchingPolicy`."""
        return None if view.running else max(0.0, self.window_s - view.oldest_wait_s)

    def _complete(self, view: BatchView) -> bool:
        return (
            view.waiting >= min(self.max_size, view.places)
            or view.waiting_tokens >= self.max_tokens
            or view.oldest_wait_s >= self.window_s
        )
