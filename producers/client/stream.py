"""An answer as it is made: the chunks of one job, in order and without a gap, or a clear error."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Self

from parallax.broker.store.relay import InOrder
from parallax.broker.store.results import Notice
from parallax.core.clock import Clock
from parallax.core.errors import BrokenAnswer, InvalidInput, ParallaxError, TimedOut, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.completion import LOOK_S, Completion
from parallax.producers.client.interface import Jobs

#: Why a job that completed may have no answer, and what to do.
NO_TEXT = "its engine makes no text (`parallax up --engine echo` does)"

#: How long one look at the stream of a job may take (milliseconds).
LISTEN_MS = 200


class Stream(Iterator[bytes]):
    """The chunks of a job, as its engine sends them; the job is submitted when this is made.

    A caller that leaves before the end cancels the job: with `close`, by leaving a `with`, or a
    loop that nothing else can go on with. Threads may share a client, but not a stream.
    """

    def __init__(
        self, door: Jobs, job: Job, body: bytes, timeout_s: float, clock: Clock, random: Random
    ) -> None:
        """Submit the job; raises what its receipt says if it is not accepted."""
        for receipt in door.submit([job], own_streams=True, bodies={job.id: body}):
            error = receipt.error()
            if error is not None:
                raise error
        self._following = _Following(door, job.id, timeout_s, clock, random)
        # It does not know this object, so that it is closed as soon as nobody has this any more.
        self._chunks = _until_left(self._following)
        next(self._chunks)

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._following.job_id

    @property
    def completion(self) -> Completion | None:
        """How the job ended; None while that is not known."""
        return self._following.completion

    @property
    def cancelled(self) -> str:
        """The answer to a cancellation: ok, late, unknown, silent; '' if there was none."""
        return self._following.cancelled

    def __next__(self) -> bytes:
        """Return the next chunk.

        Raises NotCompleted if the job ended otherwise, BrokenAnswer if a part is lost, TimedOut
        after so many seconds without news (and cancels the job).
        """
        return next(self._chunks)

    def close(self) -> None:
        """Leave: the job is cancelled unless it has ended."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _until_left(following: _Following) -> Generator[bytes, None, None]:
    """Yield nothing once, then the chunks; from then on leaving cancels the job."""
    try:
        yield b""
        yield from following.chunks()
    finally:
        if following.completion is None:
            following.cancel()


@dataclass(slots=True)
class _Following:
    """Reads the stream of a job to its end."""

    door: Jobs
    job_id: str
    timeout_s: float
    clock: Clock
    random: Random
    completion: Completion | None = None
    cancelled: str = ""
    _cursor: str = ""
    _record_ended: bool = False
    _order: InOrder = field(default_factory=InOrder)

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks up to the end; raises as `Stream.__next__` says."""
        heard = looked = self.clock.monotonic()
        while self.completion is None:
            notices = self._news()
            for notice in notices or ():
                yield from self._taken(notice)
            now = self.clock.monotonic()  # the caller that takes chunks may take long
            if notices:
                heard = looked = now
            elif now - heard >= self.timeout_s:
                raise TimedOut(f"no news for {self.timeout_s:g} s of job {self.job_id}")
            elif self._record_ended and notices is not None:
                raise BrokenAnswer(f"job {self.job_id} has ended, and its stream does not tell how")
            elif now - looked >= LOOK_S:
                looked = now
                self._look()
        self._check(self.completion)

    def _news(self) -> list[Notice] | None:
        """Return the new messages; None if Redis does not answer."""
        block_ms = 0 if self._record_ended else LISTEN_MS
        try:
            self._cursor, notices = self.door.follow(self.job_id, self._cursor, block_ms)
        except Unreachable:
            self.clock.wait(self.random.uniform(0.0, 0.2))
            return None
        return notices

    def _taken(self, notice: Notice) -> Iterator[bytes]:
        if notice.word == "chunk":
            try:
                chunk = self._order.take(notice.piece)
            except (BrokenAnswer, InvalidInput) as error:
                raise BrokenAnswer(f"job {self.job_id}: {error}") from error
            if chunk is not None:
                yield chunk
        elif notice.outcome is not None:
            self.completion = Completion(self.job_id, notice.outcome, notice.data)

    def _look(self) -> None:
        """Look at the record: once that has ended, all that will be told has been told."""
        with suppress(Unreachable):
            (record,) = self.door.records([self.job_id])
            self._record_ended = record is None or record.outcome is not None

    def _check(self, completion: Completion) -> None:
        """Raise unless the job completed, and what came is all of it.

        A chunk that is lost from the middle leaves a gap; one from the end cannot be, for streams
        lose their oldest entries first. So only an answer of no chunks at all may have lost some.
        """
        completion.raise_for_outcome()
        tokens = completion.report.output_tokens
        if completion.outcome is Outcome.COMPLETED and tokens and not self._order.due:
            raise BrokenAnswer(
                f"job {self.job_id}: none of its {tokens} tokens came: {NO_TEXT}, or the stream "
                "was cut before it was read"
            )

    def cancel(self) -> None:
        """Cancel the job: nobody reads the rest. Raises nothing, for its caller has left."""
        try:
            self.cancelled = self.door.cancel(self.job_id)
        except ParallaxError:
            self.cancelled = "silent"
