"""The life of a job as a table: states, allowed transitions, and ways to end.

Rules of this file:
1. Everything that decides whether a job may change state is in `TRANSITIONS`.
2. A terminal state has no successor: the record is written once (`Outcome` = terminal state).
3. The words here are the words in Redis (first in the field `at` of `job:<id>`), in metrics and in
   the CLI.

    queued -> assigned -> running -> completed | failed
      ^          |  ^        |  |
      |          |  |        |  +---> prefilled -> assigned     to a worker that decodes
      |          |  +--------+        another attempt took over: its worker died, or stepped aside
      +----------+-----------+        handed back: retry, dead worker, drain

A *rejected* job was refused by admission before it was queued for dispatch; an *expired* one saw
its deadline pass while it waited; a *dead* one used up its attempts and lies in the dead letters.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is. The values are stored in Redis."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    PREFILLED = "prefilled"
    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD = "dead"


class Outcome(StrEnum):
    """How a job ended: exactly one per accepted job. Also the metric label and the CLI word."""

    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD = "dead"


class Told(StrEnum):
    """The kinds of messages in the stream `events`: the first word of each text.

    A closed list: money is settled by it, so a word that is not here is junk and settles nothing.
    """

    # An attempt is over, and its job with it.
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    DEAD = "dead"
    # An attempt is over; its job is not, or was before.
    REQUEUED = "requeued"
    YIELDED = "yielded"
    LATE = "late"
    STALE = "stale"
    DROPPED = "dropped"
    LOST = "lost"  # with its worker: its consumption is unknown
    # Its end, which comes after it was taken from its worker; the text goes on as above.
    RECLAIMED = "reclaimed"
    # It goes on.
    BEGAN = "began"
    STOLEN = "stolen"
    PREFILLED = "prefilled"
    # A job ended that no worker had.
    WITHDRAWN = "withdrawn"


#: What ends an attempt, and how that leaves its job; None: undecided by it.
ENDS: dict[Told, Outcome | None] = {
    Told.COMPLETED: Outcome.COMPLETED,
    Told.FAILED: Outcome.FAILED,
    Told.EXPIRED: Outcome.EXPIRED,
    Told.DEAD: Outcome.DEAD,
    Told.REQUEUED: None,
    Told.YIELDED: None,
    Told.LATE: None,
    Told.STALE: None,
    Told.DROPPED: None,
    Told.LOST: None,
}

_ENDS_ANYWHERE = frozenset({State.COMPLETED, State.CANCELLED, State.DEAD})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: _ENDS_ANYWHERE | {State.ASSIGNED, State.REJECTED, State.EXPIRED},
    State.ASSIGNED: _ENDS_ANYWHERE | {State.QUEUED, State.RUNNING, State.FAILED, State.EXPIRED},
    State.RUNNING: _ENDS_ANYWHERE
    | {State.QUEUED, State.ASSIGNED, State.PREFILLED, State.FAILED, State.EXPIRED},
    State.PREFILLED: _ENDS_ANYWHERE | {State.QUEUED, State.ASSIGNED, State.EXPIRED},
    **dict.fromkeys(
        (
            State.COMPLETED,
            State.FAILED,
            State.REJECTED,
            State.EXPIRED,
            State.CANCELLED,
            State.DEAD,
        ),
        frozenset[State](),
    ),
}
"""The allowed transitions. `queued -> completed`: a worker believed dead finished after all."""

TERMINAL = frozenset(state for state, successors in TRANSITIONS.items() if not successors)


def may_follow(before: State, after: State) -> bool:
    """Say whether a job in state `before` may change to state `after`."""
    return after in TRANSITIONS[before]
