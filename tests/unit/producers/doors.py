"""A door that accepts one job and tells of it what a test planned, on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.intake import Receipt
from parallax.broker.store.results import Notice, Record
from parallax.core.clock import ManualClock
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import Job
from parallax.core.words import Cancelled, Submitted
from parallax.producers.client.completion import Completion
from parallax.producers.client.stream import Stream

JOB, BODY = Job("j1", "acme", 3, 8, stream=True), b'{"messages":[]}'
QUEUED = Record("j1", "acme", State.QUEUED, 1, 1.0, 3, 8, "", "", "j1", None, None, None, Report())
ENDED = replace(QUEUED, state=State.COMPLETED)

#: What a look at the stream brings: notices, none of them, or an error.
Look = list[Notice] | BaseException


class Door:
    """Accepts one job, and tells of it what was planned; at the end of the plan it is silent.

    `name` is the id under which it knows the job, `kept` its answer.
    """

    def __init__(
        self, *looks: Look, word: Submitted = Submitted.OK, record: Record | None = QUEUED,
        name: str = "j1", kept: bytes | None = None,
    ) -> None:  # fmt: skip
        self.clock, self.looks, self.word, self.record = ManualClock(), list(looks), word, record
        self.name, self.kept = name, kept
        self.closed = False
        self.cancels, self.submitted, self.cursors = list[str](), list[Any](), list[str]()
        self.cancelled: Cancelled | ParallaxError = Cancelled.OK

    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None,
    ) -> list[Receipt]:  # fmt: skip
        self.submitted.append((list(jobs), own_streams, dict(bodies or {})))
        return [Receipt(job.id, self.word, "") for job in jobs]

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        assert job_id == self.name
        self.cursors.append(cursor)
        look = self.looks.pop(0) if self.looks else []
        if isinstance(look, BaseException):
            raise look
        if not look:
            self.clock.wait(block_ms / 1000)
        return str(len(self.cursors)), look

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        assert list(job_ids) == [self.name]
        return [self.record]

    def cancel(self, job_id: str) -> Cancelled:
        self.cancels.append(job_id)
        if isinstance(self.cancelled, ParallaxError):
            raise self.cancelled
        return self.cancelled

    def stream(self, job: Job = JOB, body: bytes = BODY, *, timeout_s: float = 30.0) -> Stream:
        return Stream(self, job, body, timeout_s, self.clock, Random(1))

    def wait(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]:
        assert list(job_ids) == [self.name]
        for look in self.looks:
            if isinstance(look, BaseException):
                raise look
            yield from Completion.told(look)

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        assert list(job_ids) == [self.name]
        return [self.kept]

    def close(self) -> None:
        self.closed = True


def chunk(sequence: int, data: bytes = b"x", attempt: int = 1) -> Notice:
    return Notice("j1", "chunk", b"%d %d %s" % (attempt, sequence, data))


def end(outcome: Outcome = Outcome.COMPLETED, **fields: Any) -> Notice:
    report = Report("acme", "w1", 1, **({"output_tokens": 2} | fields))
    return Notice("j1", outcome.value, encode(report))
