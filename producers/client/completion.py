"""How a job ended, and waiting for that: the same over one cell and over several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from parallax.broker.store.codec import Report, decode_report, encode
from parallax.broker.store.results import Notice, Record
from parallax.core.clock import Clock
from parallax.core.errors import NotCompleted, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.producers.client.chat import answer_text

#: A waiter that heard nothing for so long looks at the records themselves (seconds), and one that
#: hears of other jobs all the time does so at last.
LOOK_S, LAST_LOOK_S = 1.0, 10.0

#: How long one look into the inbox may take (milliseconds), and at how many records (in one go).
LISTEN_MS, MOST_RECORDS = 200, 1_000


@dataclass(frozen=True, slots=True)
class Completion:
    """How a job ended, as the waiter learned it.

    `answer` is what its engine answered: empty if that said nothing, if the job streamed, and if it
    was not kept and the waiter learned of the end by looking at the record.
    """

    job_id: str
    outcome: Outcome
    data: bytes = b""
    answer: bytes = b""

    @property
    def report(self) -> Report:
        """The job's result, whichever way its end was learned."""
        return decode_report(self.data) if self.data else Report()

    @property
    def text(self) -> str | None:
        """The text of the answer if it is a chat completion, else None."""
        return answer_text(self.answer)

    def raise_for_outcome(self) -> None:
        """Raise NotCompleted unless the job completed."""
        if self.outcome is not Outcome.COMPLETED:
            raise NotCompleted(self.job_id, self.outcome.value, self.report.error)

    @classmethod
    def told(cls, notices: Iterable[Notice]) -> list[Completion]:
        """Return the ends among the messages, each with the answer that came just before it."""
        ended: list[Completion] = []
        answers: dict[str, bytes] = {}
        for notice in notices:
            outcome = notice.outcome
            if outcome is not None:
                answer = answers.pop(notice.job_id, b"")
                ended.append(cls(notice.job_id, outcome, notice.data, answer))
            elif notice.word == "answer":
                answers[notice.job_id] = notice.data
        return ended

    @classmethod
    def recorded(cls, record: Record, outcome: Outcome) -> Completion:
        """Return what a record says of a job that has ended."""
        return cls(record.job_id, outcome, encode(record.report))


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for jobs by the given functions: ends of named jobs, a look at records, answers."""

    ended: Callable[[set[str], int], list[Completion]]
    records: Callable[[Sequence[str]], list[Record | None]]
    answers: Callable[[Sequence[str]], list[bytes | None]]
    clock: Clock
    random: Random

    def each(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one."""
        missing = set(job_ids)
        unseen: list[str] = []  # whose turn it is to be looked at
        heard = looked = self.clock.monotonic()
        while missing and self.clock.monotonic() - heard < timeout_s:
            ended = self._heard(missing)
            now = self.clock.monotonic()
            if now - looked >= (LAST_LOOK_S if ended else LOOK_S):
                looked = now
                ended = ended + self._seen(missing - {c.job_id for c in ended}, unseen)
            for completion in ended:
                heard = now
                missing.discard(completion.job_id)
                yield completion

    def _heard(self, missing: set[str]) -> list[Completion]:
        try:
            return self.ended(missing, LISTEN_MS)
        except Unreachable:
            self.clock.wait(self.random.uniform(0.0, 0.2))
            return []

    def _seen(self, missing: set[str], unseen: list[str]) -> list[Completion]:
        """Look at some of the records; all of them have their turn, however many there are.

        A job may have ended since the inbox was read last: its answer lies there, not in its
        record, so the inbox has the last word.
        """
        if not unseen:
            unseen += sorted(missing, reverse=True)
        page = [job for job in unseen[-MOST_RECORDS:] if job in missing]
        try:
            records = self.records(page) if page else []
            ended = [Completion.recorded(r, r.outcome) for r in records if r and r.outcome]
            answers = self._kept(ended)
        except Unreachable:
            return []
        del unseen[-MOST_RECORDS:]
        silent = {job_id for job_id, answer in answers.items() if not answer}
        told = {one.job_id: one for one in (self._heard(silent) if silent else ())}
        return [
            told.get(one.job_id) or replace(one, answer=answers.get(one.job_id) or b"")
            for one in ended
        ]

    def _kept(self, ended: Sequence[Completion]) -> dict[str, bytes | None]:
        """Return the answers that can still be read, of those that completed."""
        ids = [one.job_id for one in ended if one.outcome is Outcome.COMPLETED]
        return dict(zip(ids, self.answers(ids), strict=True)) if ids else {}
