"""How far one reader has read its inbox, and what of it can go: the same for every client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parallax.broker.store.results import Notice

#: The inbox is cut back after so many notices have been read from it.
READ = 1_000


@dataclass(slots=True)
class Bookmark:
    """Where reading goes on. It moves once a read has succeeded: a failed read is repeated."""

    cursor: str = ""
    taken: list[str] = field(default_factory=list)  # jobs whose answers, told apart, can go
    _read: int = 0  # notices since the inbox was cut back

    @property
    def full(self) -> bool:
        """Whether the next read is to cut the inbox back."""
        return self._read >= READ

    def move(self, cursor: str, notices: Sequence[Notice]) -> None:
        """Go on after these notices; what the read before them was told to delete is gone."""
        self._read = (0 if self.full else self._read) + len(notices)
        self.taken = [notice.job_id for notice in notices if notice.apart]
        self.cursor = cursor
