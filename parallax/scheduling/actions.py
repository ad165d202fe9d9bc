"""The scheduler's decisions. A driver carries them out and reports their results."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.reasons import Reason
from parallax.core.values import value


@value(frozen=True, slots=True)
class Admitted:
    """Admission let this job into the queue. Said once, when it comes for the first time.

    A new leader looks at what waits anew, and says it once more.
    """

    job_id: str
    tenant: str


@value(frozen=True, slots=True)
class Dispatch:
    """Send this job to this worker. `attempt` counts from 1; `estimate` is the charged cost.

    A `hedge` is a second attempt beside the first. A job that was `prefilled_by` another worker
    brings its KV cache from there. `arm` names the version that placed it while a canary runs.
    """

    job_id: str
    tenant: str
    entry: str
    worker: str
    attempt: int
    estimate: float
    hedge: bool = False
    prefilled_by: str = ""
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this attempt: another one of the same job was faster. Its end is still reported."""

    job_id: str
    worker: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Steal:
    """Move this attempt to an idle worker, unless it has begun; `AttemptMoved` says that it was."""

    job_id: str
    victim: str
    thief: str
    attempt: int
    model: str = ""  # the thief must serve it


@dataclass(frozen=True, slots=True)
class Reject:
    """Admission refuses this job, at the door or from the queue: write its terminal record."""

    job_id: str
    tenant: str
    entry: str
    reason: Reason
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


Action = Admitted | Dispatch | Cancel | Steal | Reject | Expire | SaveAccounts
