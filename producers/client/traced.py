"""The first part of a job's trace: that it was submitted, and what the door said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from parallax.broker.store.intake import Receipt
from parallax.core.model import Job
from parallax.telemetry.tracing import Tracer


class Submitting:
    """A span for each of these jobs, while they are submitted. `jobs` are parts of them.

    A job that belongs to a trace already goes on with that; any other with its caller's, if there
    is one, and else with one of its own.
    """

    def __init__(self, tracer: Tracer, jobs: Sequence[Job], cell: str) -> None:
        self._spans = [
            tracer.begin("submit", job.trace, kind="producer", attributes=_about(job, cell))
            for job in jobs
        ]
        self.jobs = [
            replace(job, trace=span.context or job.trace)
            for job, span in zip(jobs, self._spans, strict=True)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is not None:
            for span in self._spans:
                span.end(attributes={"error.type": type(error).__name__}, error=str(error))

    def answered(self, receipts: list[Receipt]) -> list[Receipt]:
        """The door has answered so."""
        for span, receipt in zip(self._spans, receipts, strict=True):
            error = receipt.error()
            said = {"parallax.receipt": str(receipt.word)}
            span.end(attributes=said, error="" if error is None else str(error))
        return receipts


def _about(job: Job, cell: str) -> dict[str, str | int]:
    return {
        "parallax.job.id": job.id, "parallax.tenant": job.tenant, "parallax.cell": cell,
        "gen_ai.request.model": job.model, "gen_ai.conversation.id": job.session,
        "gen_ai.request.max_tokens": job.max_tokens,
    }  # fmt: skip
