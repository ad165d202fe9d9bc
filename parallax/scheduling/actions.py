"""What the scheduler decides. A driver carries these out and reports what came of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send this job to this worker. `attempt` counts from 1; `estimate` is what was charged."""

    job_id: str
    tenant: str
    entry: str
    worker: str
    attempt: int
    estimate: float


@dataclass(frozen=True, slots=True)
class Reject:
    """Admission refuses this job: write its terminal record."""

    job_id: str
    tenant: str
    entry: str
    reason: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Expire:
    """The deadline passed while the job waited: write its terminal record."""

    job_id: str
    tenant: str
    entry: str


@dataclass(frozen=True, slots=True)
class SaveAccounts:
    """Remember these accounts (see `FairnessPolicy.accounts`) together with the dispatches."""

    accounts: dict[str, float]


Action = Dispatch | Reject | Expire | SaveAccounts
