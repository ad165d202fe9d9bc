"""An answer as it is made, for an event loop: its chunks in order, without a gap, or an error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from parallax.broker.store.relay import InOrder
from parallax.core.errors import BrokenAnswer, InvalidInput, TimedOut
from parallax.core.lifecycle import Outcome
from parallax.producers.client.async_inbox import Inbox, Mail, Told
from parallax.producers.client.completion import Completion


class AsyncStream(AsyncIterator[bytes]):
    """The chunks of a job, as its engine sends them; it is submitted when the first is asked for.

    A caller that leaves before the end cancels the job: with `aclose`, by leaving an `async with`,
    by a cancelled task, or by leaving a loop that nothing else can go on with.
    """

    def __init__(self, following: Following) -> None:
        self._following = following
        # It does not know this object, so that it is closed as soon as nobody has this any more.
        self._chunks = following.chunks()

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._following.job_id

    @property
    def completion(self) -> Completion | None:
        """How the job ended; None while that is not known."""
        return self._following.completion

    async def __anext__(self) -> bytes:
        """Return the next chunk.

        Raises what the receipt says if the job is not accepted, NotCompleted if it ended otherwise,
        BrokenAnswer if a part is lost, TimedOut after so many seconds without news (and cancels the
        job).
        """
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Leave: the job is cancelled unless it has ended."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.aclose()


@dataclass(slots=True)
class Following:
    """Submits a job and reads its mail to the end."""

    job_id: str
    submit: Callable[[], Awaitable[None]]  # raises if it was not accepted
    leave: Callable[[], None]  # cancels the job, which nobody waits for
    inbox: Inbox
    timeout_s: float
    completion: Completion | None = None
    _order: InOrder = field(default_factory=InOrder)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks up to the end; raises as `AsyncStream.__anext__` says."""
        mail = Mail()
        self.inbox.expect([self.job_id], mail)
        try:
            await self.submit()
            try:
                while self.completion is None:
                    for told in await self._taken(mail):
                        chunk = self._understood(told)
                        if chunk is not None:
                            yield chunk
            finally:
                if self.completion is None:
                    self.leave()
            self._check(self.completion)
        finally:
            self.inbox.leave([self.job_id], mail)

    async def _taken(self, mail: Mail) -> list[Told]:
        try:
            taken = await mail.take(self.timeout_s)
        except BrokenAnswer as error:
            raise BrokenAnswer(f"job {self.job_id}: {error}") from error
        if not taken:
            raise TimedOut(f"no news for {self.timeout_s:g} s of job {self.job_id}")
        return taken

    def _understood(self, told: Told) -> bytes | None:
        if told.completion is not None:
            self.completion = told.completion
            if told.recorded and told.completion.outcome is Outcome.COMPLETED:
                raise BrokenAnswer(
                    f"job {self.job_id} has ended, and what was told of it is lost in part"
                )
        if told.notice is None:
            return None
        try:
            return self._order.take(told.notice.piece)
        except (BrokenAnswer, InvalidInput) as error:
            raise BrokenAnswer(f"job {self.job_id}: {error}") from error

    def _check(self, completion: Completion) -> None:
        """Raise unless the job completed; an answer of no chunks at all may have lost some."""
        completion.raise_for_outcome()
        tokens = completion.report.output_tokens
        if tokens and not self._order.due:
            raise BrokenAnswer(f"job {self.job_id}: none of its {tokens} tokens came")
