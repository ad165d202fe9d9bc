"""The life of a job as a table: states, what may follow what, and how a job can end.

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
"""What may follow what. `queued -> completed`: a worker believed dead finished after all."""

TERMINAL = frozenset(state for state, successors in TRANSITIONS.items() if not successors)


def may_follow(before: State, after: State) -> bool:
    """Say whether a job in state `before` may change to state `after`."""
    return after in TRANSITIONS[before]
