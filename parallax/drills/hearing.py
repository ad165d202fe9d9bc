"""The messages that a waiting client has received for each job: end, answer, and chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from parallax.broker.store.relay import InOrder
from parallax.broker.store.results import Notice
from parallax.core.digests import digest_of
from parallax.core.errors import BrokenAnswer, InvalidInput


@dataclass(slots=True)
class Heard:
    """The chunks of one job, in order: their digests, and the first fault among them."""

    order: InOrder = field(default_factory=InOrder)
    pieces: list[str] = field(default_factory=list)
    wrong: str = ""

    def take(self, notice: Notice) -> None:
        """Hear the next chunk; a repeated one is passed over."""
        try:
            data = self.order.take(notice.piece)
        except (BrokenAnswer, InvalidInput) as error:
            self.wrong = self.wrong or str(error)
        else:
            self.pieces += [] if data is None else [digest_of(data)]


@dataclass(slots=True)
class Hearing:
    """Only digests are kept: an answer may be long, and there are many."""

    told: Counter[str] = field(default_factory=Counter)  # ends, by job
    answers: dict[str, str] = field(default_factory=dict)
    streams: dict[str, Heard] = field(default_factory=dict)

    def hear(self, notices: Iterable[Notice], known: Collection[str]) -> None:
        """Take messages; of unknown jobs (junk has names, too) only the end."""
        for notice in notices:
            if notice.outcome is not None:
                self.told[notice.job_id] += 1
            elif notice.job_id not in known:
                continue
            elif notice.word == "answer":
                self.answers[notice.job_id] = digest_of(notice.data)
            elif notice.word == "chunk":
                self.streams.setdefault(notice.job_id, Heard()).take(notice)
