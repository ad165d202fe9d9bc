"""Why a job was refused, or ended otherwise than completed: one closed list of words.

The same word stands in the scheduler's actions, in the job's report (`Report.reason`), as the label
of `parallax_admissions_total`, and in errors and answers of the API as their `code`. Programs
compare words; people read `sentence`.
"""

from __future__ import annotations

from enum import StrEnum

from parallax.core.words import Verdict


class Reason(StrEnum):
    """See the module's docstring. The values are stored in Redis."""

    # Refusals of admission: on arrival at the scheduler, or later from the queue.
    TENANT_QUEUE_FULL = "tenant_queue_full"
    QUEUE_FULL = "queue_full"
    TENANT_COST_FULL = "tenant_cost_full"
    COST_FULL = "cost_full"
    MEMORY_FULL = "memory_full"
    RATE_LIMITED = "rate_limited"
    LARGER_THAN_BURST = "larger_than_burst"
    OVERLOADED = "overloaded"
    SATURATED = "saturated"
    QUEUE_DELAY = "queue_delay"
    HOPELESS = "hopeless"
    POLICY = "policy"
    TENANTS_FULL = "tenants_full"  # at the door of the store, as is TENANT_QUEUE_FULL
    # How other jobs end.
    DEADLINE = "deadline"
    CANNOT_FIT = "cannot_fit"
    ENGINE_FAILED = "engine_failed"
    ATTEMPTS_USED_UP = "attempts_used_up"
    STREAM_BROKEN = "stream_broken"

    @property
    def sentence(self) -> str:
        """The reason's meaning for people; a clause without a full stop."""
        return _SENTENCES[self]

    @property
    def by_admission(self) -> bool:
        """Whether it is an admission policy that refuses with this word."""
        return self not in _OTHERS


_OTHERS = frozenset(
    {
        Reason.TENANTS_FULL,
        Reason.DEADLINE,
        Reason.CANNOT_FIT,
        Reason.ENGINE_FAILED,
        Reason.ATTEMPTS_USED_UP,
        Reason.STREAM_BROKEN,
    }
)

_SENTENCES: dict[Reason, str] = {
    Reason.TENANT_QUEUE_FULL: "as many jobs of this tenant wait as may",
    Reason.QUEUE_FULL: "as many jobs of all tenants wait as may",
    Reason.TENANT_COST_FULL: "the jobs of this tenant that wait cost as much as they may",
    Reason.COST_FULL: "the jobs of all tenants that wait cost as much as they may",
    Reason.MEMORY_FULL: "KV memory is full, and this tenant holds its part of it or more",
    Reason.RATE_LIMITED: "this tenant asks for more per second than it may",
    Reason.LARGER_THAN_BURST: "the job costs more than this tenant may ask for at once",
    Reason.OVERLOADED: "jobs wait too long already",
    Reason.SATURATED: "the fleet is full, and the job's priority is low",
    Reason.QUEUE_DELAY: "waits stay too long, so some of what waits is shed",
    Reason.HOPELESS: "the deadline cannot be met any more",
    Reason.TENANTS_FULL: "as many tenants have jobs as the cell may hold",
    Reason.POLICY: "the admission policy refuses it for a reason of its own",
    Reason.DEADLINE: "the deadline passed before the job began",
    Reason.CANNOT_FIT: "no engine of this kind can serve it: too large, or a body it cannot read",
    Reason.ENGINE_FAILED: "the engine failed",
    Reason.ATTEMPTS_USED_UP: "its last attempt was lost with its worker",
    Reason.STREAM_BROKEN: "a part of its answer was sent, and the rest will not come",
}

#: Why an attempt did not complete, by its `Verdict`.
REASONS: dict[str, Reason] = {
    Verdict.EXPIRED: Reason.DEADLINE,
    Verdict.FAILED: Reason.CANNOT_FIT,
    Verdict.RETRY: Reason.ENGINE_FAILED,
}
