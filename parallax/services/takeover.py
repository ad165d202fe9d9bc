"""Reads the state that a new leader needs from Redis before its first turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Assignment, decode_assignment
from parallax.broker.store.codec import decode_about, view_of
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.holding import decode_holding
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import State
from parallax.core.model import JobView
from parallax.core.pages import pages
from parallax.scheduling.events import AttemptRestored

#: Workers whose streams, and attempts whose records, are read in one go.
_WORKERS, _RECORDS = 1_000, 2_000

Held = tuple[str, Assignment]  # a worker, and what lies in its stream

_HELD = frozenset({State.ASSIGNED, State.RUNNING, State.PREFILLED})


def attempts(
    link: Link, keys: Keys, workers: Iterable[str], progressed: Callable[[], None]
) -> list[AttemptRestored]:
    """Return the attempts that lie in the streams of these workers, in the order of their numbers.

    Those that their jobs do not own any more are left out: their workers will say what they cost.
    One round trip for a thousand workers and one for each two thousand attempts; after each of them
    `progressed` is called.
    """
    membership = Membership(link, keys)
    restored: list[AttemptRestored] = []
    for some in pages(list(workers), _WORKERS):
        held = list(_assignments(membership, some))
        progressed()
        for part in pages(held, _RECORDS):
            restored += _owned(link, keys, part)
            progressed()
    return sorted(restored, key=lambda event: event.attempt)


def _owned(link: Link, keys: Keys, held: Sequence[Held]) -> Iterator[AttemptRestored]:
    """Yield the attempts among these that their jobs own."""
    fields = ("about", "deadline", "prefilled", "at", "hedge")
    records = link.calls([("HMGET", keys.job(a.job_id), *fields) for _, a in held])
    for (worker, assignment), record in zip(held, records, strict=True):
        about, deadline, computed, *holders = record
        job = _view(assignment, about, deadline)
        state = _state(assignment.signature(worker), holders)
        if job is not None and state:
            attempt, prefilled = int(assignment.attempt), state is State.PREFILLED
            yield AttemptRestored(
                job, worker, attempt, assignment.estimate, prefilled, _cached(computed)
            )


def _assignments(membership: Membership, workers: Sequence[str]) -> Iterator[Held]:
    for worker, entries in membership.held_by(workers).items():
        for entry, fields in entries:
            try:
                yield worker, decode_assignment(Entry(entry, fields))
            except InvalidInput:
                continue  # the worker that reads it sets it aside


def _state(signature: str, holders: Iterable[bytes | None]) -> State | None:
    """Return the state of an attempt that its job owns; None if it does not."""
    for holding in map(decode_holding, holders):
        if holding and holding.state in _HELD and holding.signature == signature:
            return holding.state
    return None


def _cached(prefilled: bytes | None) -> int:
    """Return how much of a computed prompt was cached; 0 if nobody says."""
    parts = (prefilled or b"").split(b" ")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0


def _view(assignment: Assignment, text: bytes | None, deadline: bytes | None) -> JobView | None:
    try:
        due = int(deadline) / 1000 if deadline and deadline.isdigit() else inf
        by = assignment.prefilled.worker if assignment.prefilled else ""
        return view_of(assignment.job_id, decode_about(text), due, int(assignment.attempt) - 1, by)
    except (InvalidInput, ValueError):
        return None
