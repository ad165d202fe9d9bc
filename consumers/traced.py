"""A worker's part of a trace: that an attempt runs, and that its end is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from parallax.broker.api import paths
from parallax.broker.store.attempts import Attempt, Finish
from parallax.core.trace import is_sampled
from parallax.core.words import Finished
from parallax.engine.request import Request
from parallax.telemetry.tracing import Span, Tracer, Value

#: What a body asks for, in the words of OpenTelemetry's conventions for generative AI.
_OPERATIONS = {
    paths.CHAT: "chat", paths.RESPONSES: "chat", paths.COMPLETIONS: "text_completion",
    paths.EMBEDDINGS: "embeddings",
}  # fmt: skip
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)

Answers = Sequence[tuple[str, str]]


class Spans:
    """Tells of the attempts of one worker that belong to a trace which somebody wants to see."""

    def __init__(self, tracer: Tracer, worker: str, engine: str) -> None:
        self.on = tracer.on
        self._tracer, self._worker, self._engine = tracer, worker, engine
        self._running: dict[str, Span] = {}  # by entry
        self._ending: list[Span] = []

    def began(self, attempts: Sequence[Attempt]) -> None:
        """The store let these begin."""
        for attempt in attempts:
            if is_sampled(attempt.trace):
                self._running[attempt.assignment.entry] = self._tracer.begin(
                    "run", attempt.trace, kind="client", attributes=self._about(attempt)
                )

    def given(self, request: Request, attempt: Attempt) -> Request:
        """Return a request as the engine is to have it: a part of the span of its run."""
        span = self._running.get(attempt.assignment.entry)
        return request if span is None else replace(request, trace=span.context)

    def asked(self, finishes: Sequence[Finish]) -> None:
        """These attempts are over, and the store is about to be told."""
        for finish in finishes:
            attempt = finish.attempt
            span = self._running.pop(attempt.assignment.entry, None)
            if span is not None:
                error = finish.report.error if finish.verdict != "stopped" else ""
                span.end(attributes=_came_of(finish), error=error)
        self._ending = [
            self._tracer.begin(
                "finish", finish.attempt.trace, attributes={"parallax.verdict": finish.verdict}
            )
            for finish in finishes if is_sampled(finish.attempt.trace)
        ]  # fmt: skip

    def answered(self, finishes: Sequence[Finish], answers: Answers) -> None:
        """The store has said what it did with these ends."""
        wanted = (
            answer
            for finish, answer in zip(finishes, answers, strict=True)
            if is_sampled(finish.attempt.trace)
        )
        for span, (word, detail) in zip(self._ending, wanted, strict=False):
            outcome = detail if word == Finished.OK else str(word)
            span.end(attributes={"parallax.outcome": outcome})
        self._ending = []

    def _about(self, attempt: Attempt) -> Mapping[str, Value]:
        return {
            "gen_ai.operation.name": operation_of(attempt.body),
            "gen_ai.provider.name": self._engine, "gen_ai.request.model": attempt.model,
            "gen_ai.request.max_tokens": attempt.max_tokens,
            "gen_ai.request.stream": attempt.stream, "gen_ai.conversation.id": attempt.session,
            "parallax.job.id": attempt.job_id, "parallax.tenant": attempt.tenant,
            "parallax.worker": self._worker, "parallax.attempt": int(attempt.assignment.attempt),
            "parallax.queue.wait_s": attempt.waited_s,
        }  # fmt: skip


def operation_of(body: bytes) -> str:
    """Return what a body asks for; '' where it does not tell."""
    try:
        fields = _FIELDS.decode(body) if body else {}
        named = fields.get(paths.FIELD)
        path = paths.path_of(None if named is None else _TEXT.decode(named), fields)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return _OPERATIONS.get(path or "", "")


def _came_of(finish: Finish) -> dict[str, Value]:
    report = finish.report
    told: dict[str, Value] = {
        "parallax.verdict": finish.verdict.partition(" ")[0],
        "gen_ai.usage.input_tokens": report.prompt_tokens,
        "gen_ai.usage.output_tokens": report.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": report.cached_tokens,
    }  # fmt: skip
    if report.prefill_s is not None:
        told["gen_ai.server.time_to_first_token"] = report.prefill_s
    if report.error and finish.verdict != "stopped":
        told["error.type"] = report.reason or finish.verdict
    return told
