"""The words that the broker's scripts answer with, one enum a script, and `Cancelled`.

They are labels of metrics as well. A test compares them with what the scripts' headers say.
`fenced` is in none of them but one: it is an error (`Fenced`) wherever it is about a whole call.
"""

from __future__ import annotations

from enum import StrEnum


class Submitted(StrEnum):
    """Answers of `submit` for a job."""

    OK = "ok"
    DUP = "dup"  # the same job was accepted before
    CONFLICT = "conflict"
    TOO_BIG = "too_big"
    FULL = "full"
    BAD_STREAM = "bad_stream"
    BAD_JOB = "bad_job"


class Routed(StrEnum):
    """Answers of `route` for a dispatch."""

    OK = "ok"
    STALE = "stale"
    ORPHAN = "orphan"
    EXPIRED = "expired"
    NOWORKER = "noworker"
    BUSY = "busy"


class Begun(StrEnum):
    """Answers of `begin`, the last check of an attempt before the engine."""

    RUN = "run"
    SKIP = "skip"
    EXPIRED = "expired"


class Verdict(StrEnum):
    """How a worker ends an attempt: the argument of `finish`, see `lua/finish.lua`."""

    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    DEAD = "dead"  # the job's record cannot be decoded
    RETRY = "retry"  # counts as an attempt
    BACK = "back"  # handed back unharmed: does not count as an attempt
    STOPPED = "stopped"  # by an order: like `back`, unless the job has ended
    PREFILLED = "prefilled"  # the prompt is computed; followed by cached tokens and seconds


class Finished(StrEnum):
    """Answers of `finish`: the meaning of an attempt's end for its job."""

    OK = "ok"
    AGAIN = "again"
    LATE = "late"
    STALE = "stale"
    REQUEUED = "requeued"
    YIELDED = "yielded"
    KEPT = "kept"
    UNKNOWN = "unknown"


class Relayed(StrEnum):
    """Answers of `relay` to an attempt that sends a part of its answer."""

    OK = "ok"
    STOP = "stop"  # nothing more of it is wanted


class Terminated(StrEnum):
    """Answers of `terminate` for a job that is to end without a worker."""

    OK = "ok"
    AGAIN = "again"
    LATE = "late"
    NOT_DUE = "not_due"
    MOVED = "moved"
    UNKNOWN = "unknown"


class Cancelled(StrEnum):
    """Answers to a caller that cancels a job."""

    OK = "ok"
    LATE = "late"  # it had ended before
    UNKNOWN = "unknown"


class Reclaimed(StrEnum):
    """Answers of `reclaim` for an attempt in a dead worker's stream; `alive`: it is not dead."""

    OK = "ok"
    YIELDED = "yielded"
    DEAD = "dead"
    BROKEN = "broken"  # a part of its answer was sent, and the rest will not come
    DONE = "done"
    DROPPED = "dropped"
    ALIVE = "alive"


class Repaired(StrEnum):
    """Answers of `repair`: the place of an open job, and the repair."""

    OK = "ok"
    PRESENT = "present"
    YOUNG = "young"
    MOVED = "moved"
    DONE = "done"
    VANISHED = "vanished"
    SPENT = "spent"
    BROKEN = "broken"
    HELD = "held"
    YIELDED = "yielded"
    SPOILT = "spoilt"


class Stolen(StrEnum):
    """Answers of `steal` for an attempt that an idle worker is to take over."""

    OK = "ok"
    STARTED = "started"
    GONE = "gone"
    COPY = "copy"
    BUSY = "busy"
    DEAD_THIEF = "dead_thief"
    FOREIGN = "foreign"


class Scrubbed(StrEnum):
    """Answers of `scrub` for an entry that its job may not own any more."""

    REMOVED = "removed"
    KEPT = "kept"
    GONE = "gone"


class Woken(StrEnum):
    """Answers of `wake`: the former state of a tenant whose stream has entries."""

    RUNG = "rung"
    ACTIVE = "active"
    QUIET = "quiet"


class Retired(StrEnum):
    """Whether a tenant is watched no more."""

    RETIRED = "retired"
    BUSY = "busy"


class Forgotten(StrEnum):
    """Answers of `forget` for an account that may carry no information."""

    FORGOTTEN = "forgotten"
    KEPT = "kept"
    GONE = "gone"


class Buried(StrEnum):
    """Answers of `bury`: whether a worker is forgotten, or the caller is fenced."""

    OK = "ok"
    FENCED = "fenced"
    ALIVE = "alive"
    BUSY = "busy"


class Beaten(StrEnum):
    """Answers of `heartbeat`: the registration found under the worker's name."""

    OK = "ok"
    NEW = "new"
    TAKEN = "taken"


class Led(StrEnum):
    """Answers of `lead`: the holder of the lease."""

    ACQUIRED = "acquired"
    HELD = "held"


class Chosen(StrEnum):
    """Whether a document was replaced."""

    OK = "ok"
    CHANGED = "changed"


class Clamped(StrEnum):
    """Answers of `clamp` for a lease that may last too long."""

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


class Spent(StrEnum):
    """Whether a key's rate allows it."""

    OK = "ok"
    FULL = "full"


class Done(StrEnum):
    """The answer of a script that succeeds or is fenced."""

    OK = "ok"


#: The words of each script.
WORDS: dict[str, type[StrEnum]] = {
    "submit": Submitted, "route": Routed, "begin": Begun, "finish": Finished,
    "terminate": Terminated, "reclaim": Reclaimed, "repair": Repaired, "steal": Stolen,
    "scrub": Scrubbed, "wake": Woken, "retire": Retired, "forget": Forgotten, "bury": Buried,
    "heartbeat": Beaten, "lead": Led, "choose": Chosen, "clamp": Clamped, "quarantine": SetAside,
    "expel": SetAside, "unseat": Unseated, "remember": Done, "renew": Done, "resign": Done,
    "stop": Done, "progress": Done, "publish": Done, "relay": Relayed, "spend": Spent,
}  # fmt: skip
