"""The scheduler's input events. The three drivers (service, simulator, tests) produce them.

Times are seconds since the epoch. An `entry` is the driver's own reference to where the job waits
(in the live system the id of its stream entry); the scheduler only hands it back.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.core.values import value


@value(frozen=True, slots=True)
class JobArrived:
    """A job waits to be admitted and dispatched. It may come again after it was handed back."""

    job: JobView
    entry: str


@dataclass(frozen=True, slots=True)
class JobWithdrawn:
    """A queued job ended without us (cancelled): forget it."""

    job_id: str


@dataclass(frozen=True, slots=True)
class AccountRestored:
    """The account that a tenant had under a former leader, found before it acts under this one."""

    tenant: str
    account: float


@dataclass(frozen=True, slots=True)
class AttemptRestored:
    """A new leader found this attempt at a worker; it was charged `estimate` before.

    A second one of the same job is the attempt beside the first. A `prefilled` one has ended there
    and waits to go on elsewhere; `cached_tokens` of a prompt that was computed elsewhere were found
    in a cache there.
    """

    job: JobView
    worker: str
    attempt: int
    estimate: float
    prefilled: bool = False
    cached_tokens: int = 0


@value(frozen=True, slots=True)
class AttemptBegan:
    """An attempt has had its first token."""

    job_id: str
    worker: str
    attempt: int


@dataclass(frozen=True, slots=True)
class PrefillEnded:
    """A worker that only prefills has computed the prompt and holds its KV cache.

    `cached_tokens` of the prompt were found in a cache.
    """

    job_id: str
    worker: str
    attempt: int
    cached_tokens: int = 0


@value(frozen=True, slots=True)
class AttemptEnded:
    """An attempt is over: its worker is done with it, or the process that took it away says so.

    `outcome` is None when the attempt did not decide the job: handed back, late or superseded.
    `estimate` is its charge, kept with the attempt so that accounts settle exactly
    even after a change of leader. `usage` is None where nobody knows what it consumed.
    """

    job_id: str
    tenant: str
    worker: str
    attempt: int
    estimate: float
    outcome: Outcome | None
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class AttemptsHeld:
    """These attempts (job, number) lie in a worker's stream; one that was sent before
    `since` and is not among them is over, though nobody said so."""

    worker: str
    held: frozenset[tuple[str, int]]
    since: float


@dataclass(frozen=True, slots=True)
class AttemptMoved:
    """A sibling stole an attempt that had not started."""

    job_id: str
    thief: str


@dataclass(frozen=True, slots=True)
class DispatchRefused:
    """The store did not carry out a dispatch.

    `requeue` is True when the job still waits where it was (worker gone or full), False when it is
    no longer ours to dispatch.
    """

    job_id: str
    worker: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class WorkerReported:
    """A worker registered, or renewed its report."""

    worker: str
    slots: int
    weight: float = 1.0
    kv_used: float = 0.0
    kv_capacity: int = 0
    role: str = "both"
    version: str = ""
    draining: bool = False
    models: tuple[str, ...] = ()  # that it serves; none: it serves jobs of any
    dram_tokens: int = 0  # of KV cache in a second tier


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone; whatever it held comes back as new arrivals.

    What becomes of each of its attempts is told as `AttemptEnded`, before or after.
    """

    worker: str


@dataclass(frozen=True, slots=True)
class TenantConfigured:
    """The weight of a tenant was set (> 0)."""

    tenant: str
    weight: float


@dataclass(frozen=True, slots=True)
class BacklogMeasured:
    """So many jobs of this tenant wait beyond those the scheduler has been told of."""

    tenant: str
    unread: int


Event = (
    JobArrived
    | JobWithdrawn
    | AttemptRestored
    | AccountRestored
    | AttemptBegan
    | PrefillEnded
    | AttemptEnded
    | AttemptMoved
    | AttemptsHeld
    | DispatchRefused
    | WorkerReported
    | WorkerLost
    | TenantConfigured
    | BacklogMeasured
)
