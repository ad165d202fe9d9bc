"""What a new leader learns from Redis before its first turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from parallax.broker.attempts import Assignment, decode_assignment
from parallax.broker.codec import decode_about
from parallax.broker.connection import Link
from parallax.broker.dispatching import Entry
from parallax.broker.keys import Keys
from parallax.broker.membership import Membership
from parallax.core.errors import InvalidInput
from parallax.core.model import JobView
from parallax.scheduling.events import AttemptRestored, Event


def attempts(link: Link, keys: Keys, workers: Iterable[str]) -> list[Event]:
    """Return the attempts that lie in the streams of these workers."""
    membership = Membership(link, keys)
    restored: list[Event] = []
    for worker in workers:
        held = list(_assignments(membership, worker))
        records = link.calls([("HMGET", keys.job(a.job_id), "about", "deadline") for a in held])
        for assignment, record in zip(held, records, strict=True):
            job = _view(assignment, record)
            if job is not None:
                attempt = int(assignment.attempt)
                restored.append(AttemptRestored(job, worker, attempt, assignment.estimate))
    return restored


def _assignments(membership: Membership, worker: str) -> Iterator[Assignment]:
    for entry, fields in membership.held(worker):
        try:
            yield decode_assignment(Entry(entry, fields))
        except InvalidInput:
            continue  # the worker that reads it sets it aside


def _view(assignment: Assignment, record: list[bytes | None]) -> JobView | None:
    text, deadline = record
    try:
        about = decode_about(text)
        spec = about.spec
        return JobView(
            assignment.job_id,
            spec.tenant,
            spec.prompt,
            spec.max,
            about.accepted,
            spec.session,
            int(deadline) / 1000 if deadline else inf,
            spec.priority,
            int(assignment.attempt) - 1,
            spec.prefix,
            spec.prefix_block,
        )
    except (InvalidInput, ValueError):
        return None
