"""The words that scripts answer with: one enum a script, and how a flat reply becomes rows.

The values are the words in the scripts' headers (a test compares them), in metrics and in reports.
`fenced` is in none of them but one: decoders raise `Fenced` for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from parallax.core.errors import Fenced, StoreFault

W = TypeVar("W", bound=StrEnum)


class Submitted(StrEnum):
    """What the door says of a job."""

    OK = "ok"
    DUP = "dup"  # the same job was accepted before
    CONFLICT = "conflict"
    TOO_BIG = "too_big"
    FULL = "full"
    BAD_STREAM = "bad_stream"
    BAD_JOB = "bad_job"


class Routed(StrEnum):
    """What becomes of a dispatch."""

    OK = "ok"
    STALE = "stale"
    ORPHAN = "orphan"
    EXPIRED = "expired"
    NOWORKER = "noworker"
    BUSY = "busy"


class Begun(StrEnum):
    """What the last look before the engine says of an attempt."""

    RUN = "run"
    SKIP = "skip"
    EXPIRED = "expired"


class Finished(StrEnum):
    """What the end of an attempt means for its job."""

    OK = "ok"
    AGAIN = "again"
    LATE = "late"
    STALE = "stale"
    REQUEUED = "requeued"
    YIELDED = "yielded"
    KEPT = "kept"
    UNKNOWN = "unknown"


class Terminated(StrEnum):
    """What becomes of a job that is to end without a worker."""

    OK = "ok"
    AGAIN = "again"
    LATE = "late"
    NOT_DUE = "not_due"
    MOVED = "moved"
    UNKNOWN = "unknown"


class Reclaimed(StrEnum):
    """What becomes of an attempt in a dead worker's stream; `alive` says that it is not dead."""

    OK = "ok"
    YIELDED = "yielded"
    DEAD = "dead"
    DONE = "done"
    DROPPED = "dropped"
    ALIVE = "alive"


class Repaired(StrEnum):
    """Where an open job was found, and what was done about it."""

    OK = "ok"
    PRESENT = "present"
    YOUNG = "young"
    MOVED = "moved"
    DONE = "done"
    VANISHED = "vanished"
    SPENT = "spent"
    HELD = "held"
    YIELDED = "yielded"
    SPOILT = "spoilt"


class Stolen(StrEnum):
    """What becomes of an attempt that an idle worker is to take over."""

    OK = "ok"
    STARTED = "started"
    GONE = "gone"
    COPY = "copy"
    BUSY = "busy"
    DEAD_THIEF = "dead_thief"


class Scrubbed(StrEnum):
    """What becomes of an entry that its job may not own any more."""

    REMOVED = "removed"
    KEPT = "kept"
    GONE = "gone"


class Woken(StrEnum):
    """What a tenant whose stream has entries was before it was rung for."""

    RUNG = "rung"
    ACTIVE = "active"
    QUIET = "quiet"


class Retired(StrEnum):
    """Whether a tenant is watched no more."""

    RETIRED = "retired"
    BUSY = "busy"


class Forgotten(StrEnum):
    """What becomes of an account that may say nothing."""

    FORGOTTEN = "forgotten"
    KEPT = "kept"
    GONE = "gone"


class Buried(StrEnum):
    """Whether a worker is forgotten; who is fenced learns it here, beside the words on others."""

    OK = "ok"
    FENCED = "fenced"
    ALIVE = "alive"
    BUSY = "busy"


class Beaten(StrEnum):
    """What a heartbeat found under its worker's name."""

    OK = "ok"
    NEW = "new"
    TAKEN = "taken"


class Led(StrEnum):
    """Who has the lease."""

    ACQUIRED = "acquired"
    HELD = "held"


class Chosen(StrEnum):
    """Whether a document was replaced."""

    OK = "ok"
    CHANGED = "changed"


class Clamped(StrEnum):
    """What became of a lease that may last too long."""

    OK = "ok"
    CUT = "cut"
    GONE = "gone"


class SetAside(StrEnum):
    """Whether junk was there to be moved to the dead letters."""

    OK = "ok"
    GONE = "gone"


class Unseated(StrEnum):
    """Whether a key was of a wrong type, and so was removed."""

    OK = "ok"
    REMOVED = "removed"


class Done(StrEnum):
    """The word of what can only be done, or be fenced."""

    OK = "ok"


#: The words of each script.
WORDS: dict[str, type[StrEnum]] = {
    "submit": Submitted, "route": Routed, "begin": Begun, "finish": Finished,
    "terminate": Terminated, "reclaim": Reclaimed, "repair": Repaired, "steal": Stolen,
    "scrub": Scrubbed, "wake": Woken, "retire": Retired, "forget": Forgotten, "bury": Buried,
    "heartbeat": Beaten, "lead": Led, "choose": Chosen, "clamp": Clamped, "quarantine": SetAside,
    "expel": SetAside, "unseat": Unseated, "remember": Done, "renew": Done, "resign": Done,
    "stop": Done, "progress": Done,
}  # fmt: skip

_FENCED = b"fenced"


class Answer(NamedTuple, Generic[W]):
    """A word and what it says more: one row of a reply."""

    word: W
    detail: str


class Lexicon(dict[bytes, W]):
    """The words of an enum by their bytes: one look-up a row, and nothing is decoded."""

    def __init__(self, words: type[W]) -> None:
        super().__init__((word.value.encode(), word) for word in words)
        self._known = ", ".join(words)

    def __missing__(self, word: bytes) -> W:
        raise StoreFault(f"a script answered {word[:60]!r}; allowed: {self._known}")

    def words(self, reply: Sequence[bytes]) -> list[W]:
        """Return the words of a reply that has nothing else."""
        return [self[word] for word in reply]

    def answers(self, reply: Sequence[bytes]) -> list[Answer[W]]:
        """Return the rows of a reply: word, detail, word, detail, ..."""
        return [
            Answer(self[word], detail.decode("ascii", "replace"))
            for word, detail in zip(reply[::2], reply[1::2], strict=True)
        ]

    def first(self, reply: Sequence[bytes]) -> W:
        """Return the one word of a reply that is about one thing. Raises Fenced."""
        return self[unfenced(reply)[0]]


def unfenced(reply: Sequence[bytes]) -> Sequence[bytes]:
    """Return a reply as it is; raises Fenced if it says that somebody else leads."""
    if reply[0] == _FENCED:
        raise Fenced("another process holds the lease")
    return reply


def led(rows: Callable[[Sequence[bytes]], list[W]], reply: Sequence[bytes]) -> list[W]:
    """Return the rows that follow the status of a leader's script. Raises Fenced."""
    return rows(unfenced(reply)[1:])
