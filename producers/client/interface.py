"""The operations of producers, served by one cell, several cells, or one tenant's part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from parallax.broker.store.intake import Receipt
from parallax.broker.store.results import Notice, Record
from parallax.core.model import Job
from parallax.core.words import Cancelled
from parallax.producers.client.completion import Completion

if TYPE_CHECKING:
    from parallax.producers.client.stream import Stream

#: Longest wait without news, if nobody says otherwise (seconds).
WAIT_S = 300.0


class Jobs(Protocol):
    """Submitting jobs, and learning what became of them. See `Client` for what each one does."""

    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None,
    ) -> list[Receipt]: ...  # fmt: skip

    def wait(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]: ...

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]: ...

    def stream(self, job: Job, body: bytes = b"", *, timeout_s: float = WAIT_S) -> Stream: ...

    def records(self, job_ids: Sequence[str]) -> list[Record | None]: ...

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]: ...

    def cancel(self, job_id: str) -> Cancelled: ...


class Producer(Jobs, Protocol):
    """All that `Client` (one cell) and `Cells` (several) can do."""

    def news(self, block_ms: int) -> list[Completion]: ...

    def counts(self) -> dict[str, int]: ...

    def set_weights(self, weights: Mapping[str, float]) -> None: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...
