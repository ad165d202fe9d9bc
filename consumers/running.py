"""An attempt in its worker's engine, and the figures reported of it."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.broker.store.attempts import Attempt, Finish
from parallax.broker.store.codec import Report
from parallax.consumers.engines.interface import Done, Started
from parallax.core.reasons import REASONS
from parallax.engine.request import Consumed, Request


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
    chunks: int = 0  # that were given to the client

    def heard(self, event: Started | Done, first: float | None) -> None:
        """The engine told of it; `first` is when it had its first token, if that is news."""
        self.tokens, self.cached = event.output_tokens, event.cached_tokens
        self.joined = event.joined_at
        if first is not None:
            self.first, self.prompt = first, self.attempt.prompt_tokens
        if isinstance(event, Done) and event.prompt_tokens is not None:
            self.prompt = event.prompt_tokens

    def stopped(self, consumed: Consumed | None) -> None:
        """End an attempt that the engine has stopped; its consumption is charged."""
        if consumed is not None:
            self.prompt = max(self.prompt, consumed.prompt_tokens)
            self.tokens = max(self.tokens, consumed.output_tokens)
            self.cached = max(self.cached, consumed.cached_tokens)

    def finish(
        self, worker: str, verdict: str, at: float, error: str = "", answer: bytes = b""
    ) -> Finish:
        """Return its end at monotonic time `at`."""
        attempt, prefilled = self.attempt, self.attempt.assignment.prefilled
        start = self.added if self.joined is None else self.joined
        prefill_s = None if self.first is None else max(0.0, self.first - start)
        report = Report(
            attempt.tenant,
            worker,
            int(attempt.assignment.attempt),
            attempt.assignment.estimate,
            attempt.prompt_tokens if prefilled else self.prompt,
            self.tokens,
            prefilled.cached_tokens if prefilled else self.cached,
            attempt.waited_s + max(0.0, start - self.added),
            prefill_s,
            max(0.0, at - start),
            error,
            first_s=prefilled.first_s if prefilled else None,
            reason=REASONS.get(verdict, ""),
        )
        return Finish(attempt, verdict, report, answer)


def request_of(attempt: Attempt, only_prompt: bool) -> Request:
    """Return what the engine is given of an attempt; of some it computes the prompt alone."""
    return Request(
        attempt.job_id,
        f"{attempt.tenant}/{attempt.session}" if attempt.session else "",
        attempt.prompt_tokens,
        attempt.max_tokens,
        1 if only_prompt else attempt.output_tokens,
        attempt.prefix,
        attempt.prefix_block,
        attempt.assignment.prefilled is not None,
        body=attempt.body,
        stream=attempt.stream and not only_prompt,
        model=attempt.model,
        trace=attempt.trace,
    )
