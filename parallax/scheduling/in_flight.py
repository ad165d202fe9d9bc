"""An attempt while it is in flight."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView
from parallax.scheduling.actions import Dispatch

#: What an attempt is to its job: it may decide it, alone or first; it was sent beside the first;
#: it decides nothing any more, and what it consumed is still to be told.
FIRST, HEDGE, STOPPING = range(3)


@dataclass(slots=True, eq=False)
class InFlight:
    """An attempt that was dispatched and has not ended.

    `uncached` and `output` are tokens as they were expected at dispatch: of the prompt, those not
    thought to be in the worker's cache; of the answer, the predicted ones. `weight` is what the
    tenant had when it was charged; `spent` is what others have computed for it, in cost units: it
    is paid whatever becomes of this attempt.
    """

    job: JobView
    entry: str
    worker: str
    attempt: int
    estimate: float
    uncached: float = 0.0
    output: float = 0.0
    since: float = 0.0
    first_token: bool = False  # it has had it: it decodes
    arm: str = ""
    resident: float = 0.0  # tokens that are counted for it in `Residents`; 0 = it is not counted
    predicted_s: float = 0.0  # how long it was to take; 0 = unknown, or noted already
    hedged: bool = False  # there has been a hedge beside this attempt, or this is one
    weight: float = 1.0
    spent: float = 0.0
    standing: int = FIRST
    company: int = 0  # attempts at its worker when it came there, itself counted
    place: int = 0  # among those of its standing: the order in which they got it


def dispatch_of(attempt: InFlight, *, hedge: bool = False) -> Dispatch:
    """Return the action that sends an attempt out."""
    job = attempt.job
    return Dispatch(
        job.id, job.tenant, attempt.entry, attempt.worker, attempt.attempt, attempt.estimate,
        hedge=hedge, prefilled_by=job.prefilled_by, arm=attempt.arm,
    )  # fmt: skip
