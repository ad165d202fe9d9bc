"""Who watches a worker: its history, for whoever checks promises, and its spans, for traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parallax.broker.store.attempts import Assignment, Attempt, Finish
from parallax.broker.store.relay import Chunk
from parallax.consumers.actions import Add
from parallax.consumers.history import History
from parallax.consumers.traced import Spans
from parallax.core.clock import Clock
from parallax.engine.request import Request
from parallax.telemetry.tracing import Tracer


@dataclass(frozen=True, slots=True)
class Witness:
    """Is told what a worker does; both may be off, and then nothing is kept."""

    history: History
    spans: Spans

    def read(self, assignments: Iterable[Assignment]) -> None:
        """See `History.read`."""
        self.history.read(assignments)

    def restarted(self) -> None:
        """See `History.restarted`."""
        self.history.restarted()

    def began(self, attempts: Sequence[Attempt]) -> None:
        """The store let these begin."""
        self.history.began(attempts)
        if self.spans.on:
            self.spans.began(attempts)

    def given(self, action: Add) -> tuple[Request, str]:
        """Return a request as the engine is to have it, and which attempt at it this is."""
        request, attempt = action.request, action.attempt
        if self.spans.on:
            request = self.spans.given(request, attempt)
        return request, attempt.assignment.attempt

    def relayed(self, chunks: Sequence[Chunk]) -> None:
        """See `History.relayed`."""
        self.history.relayed(chunks)

    def asked(self, finishes: Sequence[Finish]) -> None:
        """The store is about to be told of these ends."""
        self.history.asked(finishes)
        if self.spans.on:
            self.spans.asked(finishes)

    def answered(self, finishes: Sequence[Finish], answers: Sequence[tuple[str, str]]) -> None:
        """The store has said what it did with these ends."""
        self.history.answered(finishes, answers)
        if self.spans.on:
            self.spans.answered(finishes, answers)


def witness(
    worker: str, engine: str, clock: Clock, history: Path | None, tracer: Tracer
) -> Witness:
    """Return who watches this worker."""
    return Witness(History(history, worker, clock), Spans(tracer, worker, engine))
