"""The leader's part of a job's trace: it was admitted or refused, it waited, it was routed.

A leader knows nothing of traces: what policies may know of a job says nothing of them. So it notes
what it decided, and once in a while looks up in the records which of those jobs belong to a trace.
Both cost nothing where nobody wants traces, and are bounded where somebody does: of what comes
faster than it can be looked up the oldest is told to nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.trace import context_in, is_sampled
from parallax.scheduling.actions import Action, Admitted, Dispatch, Expire, Reject
from parallax.scheduling.events import DispatchRefused, Event, JobArrived
from parallax.telemetry.tracing import Tracer, Value

#: How often it is told (seconds), of how many decisions at once, and of how many at the most.
EVERY_S, AT_ONCE, MOST = 0.2, 500, 20_000

#: Most jobs of which it is known since when they wait.
MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """A span to be told, if the job belongs to a trace. Times are seconds since the epoch."""

    name: str
    job_id: str
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


class Spans:
    """What one leader decided and has not told yet."""

    def __init__(self, link: Link, keys: Keys, tracer: Tracer) -> None:
        self._link, self._keys, self._tracer = link, keys, tracer
        self._waits: dict[str, float] = {}
        self._parts: deque[Part] = deque(maxlen=MOST)

    def decided(
        self, events: Sequence[Event], actions: Sequence[Action], news: Sequence[Event],
        now: float, took_s: float, policies: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Note a turn: what came, what was decided at `now`, and what the store refused of it.

        It `took_s` seconds to decide and to commit; `policies` are those in force, by kind.
        """
        came = {event.job.id: event.job.arrival for event in events if type(event) is JobArrived}
        self._wait_from(came, now)
        refused = {event.job_id for event in news if type(event) is DispatchRefused}
        for action in actions:
            kind = type(action)
            if kind is Admitted:
                assert isinstance(action, Admitted)  # noqa: S101 - for the type checker
                since = min(came.get(action.job_id, now), now)
                about = {"parallax.admission.policy": policies.get("admission", "")}
                self._parts.append(Part("admission", action.job_id, since, now, about))
            elif isinstance(action, Dispatch):
                self._dispatched(action, now, took_s, policies, refused)
            elif isinstance(action, Reject):
                since = min(self._waits.pop(action.job_id, now), came.get(action.job_id, now), now)
                why = f"rejected: {action.reason}"
                about = {"error.type": str(action.reason)}
                self._parts.append(Part("admission", action.job_id, since, now, about, why))
            elif isinstance(action, Expire):
                since = min(self._waits.pop(action.job_id, now), now)
                about = {"error.type": "deadline_exceeded"}
                self._parts.append(Part("queue", action.job_id, since, now, about, "expired"))

    def _dispatched(
        self, action: Dispatch, now: float, took_s: float, policies: Mapping[str, str],
        refused: Collection[str],
    ) -> None:  # fmt: skip
        if action.job_id in refused:  # it comes again
            return
        since = self._waits.pop(action.job_id, None)
        if since is not None:
            about: dict[str, Value] = {
                "parallax.fairness.policy": policies.get("fairness", ""),
                "parallax.ordering.policy": policies.get("ordering", ""),
            }
            self._parts.append(Part("queue", action.job_id, min(since, now), now, about))
        about = {
            "parallax.routing.policy": policies.get("routing", ""),
            "parallax.worker": action.worker, "parallax.attempt": action.attempt,
            "parallax.hedge": action.hedge, "parallax.arm": action.arm,
            "parallax.estimate": action.estimate,
        }  # fmt: skip
        self._parts.append(Part("route", action.job_id, now, now + took_s, about))

    def _wait_from(self, came: Collection[str], now: float) -> None:
        for job_id in came:
            self._waits[job_id] = now
        while len(self._waits) > MOST_WAITING:
            del self._waits[next(iter(self._waits))]

    def tell(self) -> None:
        """Tell of some of it: one round trip."""
        parts = [self._parts.popleft() for _ in range(min(AT_ONCE, len(self._parts)))]
        jobs = list({part.job_id for part in parts})
        if not jobs:
            return
        found = self._link.calls([("HGET", self._keys.job(job), "trace") for job in jobs])
        contexts = {
            job: context_in(text.decode("ascii", "replace"))
            for job, text in zip(jobs, found, strict=True) if isinstance(text, bytes)
        }  # fmt: skip
        for part in parts:
            context = contexts.get(part.job_id, "")
            if is_sampled(context):
                about = {"parallax.job.id": part.job_id, **part.attributes}
                span = self._tracer.begin(part.name, context, at=part.began, attributes=about)
                span.end(part.ended, error=part.error)
