"""Writes a worker's history, line by line: the evidence from which promises are checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from parallax.broker.store.attempts import Assignment, Attempt, Finish
from parallax.broker.store.relay import Chunk
from parallax.core.clock import Clock
from parallax.core.digests import digest_of


class History:
    """Appends JSON lines to a file, each written through at once; without a path it does nothing.

    A kill loses at most the line that was being written: an operation without an answer may have
    happened or not, and a reader of the history must allow for both.
    """

    def __init__(self, path: Path | None, worker: str, clock: Clock) -> None:
        self._file: IO[str] | None = None
        self._worker, self._clock = worker, clock
        if path is not None:
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def read(self, assignments: Iterable[Assignment]) -> None:
        """These entries came from the stream, in this order."""
        for a in assignments if self._file else ():
            self._write(what="read", job=a.job_id, attempt=int(a.attempt), epoch=a.epoch)

    def restarted(self) -> None:
        """The stream is read from its start again."""
        self._write(what="restarted")

    def began(self, attempts: Sequence[Attempt]) -> None:
        """The store let these begin."""
        for attempt in attempts if self._file else ():
            body = {"body": digest_of(attempt.body)} if attempt.body else {}
            self._write(what="began", bytes=attempt.body_bytes, **body, **_named(attempt))

    def relayed(self, chunks: Sequence[Chunk]) -> None:
        """The store is about to be given these pieces of answers."""
        for chunk in chunks if self._file else ():
            piece, named = digest_of(chunk.data), _named(chunk.attempt)
            self._write(what="relayed", sequence=chunk.sequence, piece=piece, **named)

    def asked(self, finishes: Sequence[Finish]) -> None:
        """The store is about to be told of these ends."""
        for finish in finishes if self._file else ():
            report = finish.report
            self._write(
                what="asked", verdict=finish.verdict, tokens=report.output_tokens,
                prompt=report.prompt_tokens, cached=report.cached_tokens, tenant=report.tenant,
                answer=digest_of(finish.answer), **_named(finish.attempt),
            )  # fmt: skip

    def answered(self, finishes: Sequence[Finish], answers: Sequence[tuple[str, str]]) -> None:
        """Note the store's answers to these ends."""
        ends = zip(finishes, answers, strict=True)
        for finish, (word, detail) in ends if self._file else ():
            self._write(what="answered", word=word, detail=detail, **_named(finish.attempt))

    def _write(self, **fields: str | int) -> None:
        if self._file is not None:
            line = {"at": round(self._clock.now(), 4), "worker": self._worker, **fields}
            self._file.write(json.dumps(line) + "\n")


def _named(attempt: Attempt) -> dict[str, str | int]:
    return {"job": attempt.job_id, "attempt": int(attempt.assignment.attempt)}
