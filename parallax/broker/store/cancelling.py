"""Cancels jobs: finds where each of them is, and ends it there."""

from __future__ import annotations

from collections.abc import Sequence

from parallax.broker.link.dialogue import Dialogue, do
from parallax.broker.store.intake import MOST_ENDINGS, Ending, terminate_call
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import records
from parallax.core.lifecycle import Outcome
from parallax.core.pages import pages
from parallax.core.words import Cancelled, Terminated

#: How often a job may move between our look and our word.
_LOOKS = 10


def cancel(keys: Keys, limits: Limits, job_ids: Sequence[str]) -> Dialogue[list[Cancelled]]:
    """Cancel jobs; return what became of each."""
    words: dict[str, Cancelled] = {}
    left = list(dict.fromkeys(job_ids))
    for _ in range(_LOOKS):
        found = yield from records(keys, left)
        unknown = [job for job, record in zip(left, found, strict=True) if record is None]
        words |= dict.fromkeys(unknown, Cancelled.UNKNOWN)
        endings = [
            Ending(
                record.job_id, record.tenant, Outcome.CANCELLED, worker=record.worker,
                reply=record.reply, hedge_worker=record.hedge_worker,
            )
            for record in found if record is not None
        ]  # fmt: skip
        left = []
        for some in pages(endings, MOST_ENDINGS):
            answers = yield from do(terminate_call(keys, limits, some))
            for ending, (word, _) in zip(some, answers, strict=True):
                if word is Terminated.MOVED:
                    left.append(ending.job_id)
                words[ending.job_id] = _WORDS[word]
        if not left:
            break
    return [words[job] for job in job_ids]


#: One that still moves after so many looks is about to end by itself; only expiry is ever not due.
_WORDS = {
    Terminated.OK: Cancelled.OK, Terminated.AGAIN: Cancelled.OK, Terminated.LATE: Cancelled.LATE,
    Terminated.MOVED: Cancelled.LATE, Terminated.UNKNOWN: Cancelled.UNKNOWN,
    Terminated.NOT_DUE: Cancelled.LATE,
}  # fmt: skip
