"""Several admission policies, one after the other: the first refusal counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.core.model import JobView, QueueView, Rejection
from parallax.policies.interfaces import AdmissionObserver, AdmissionPolicy


@dataclass(slots=True)
class Chain:
    """Ask every policy in order; let a job in when all of them do.

    It has no name of its own: `token_bucket+thresholds` builds it. Those that count what they let
    in stand last, so that they are not asked about jobs that another one refuses. Cost: their sum.
    """

    policies: Sequence[AdmissionPolicy]

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        for policy in self.policies:
            rejection = policy.admit(job, estimate, queue, now)
            if rejection is not None:
                return rejection
        return None

    def dispatching(self, job: JobView, waited_s: float, now: float) -> Rejection | None:
        """See `interfaces.AdmissionObserver`."""
        for policy in self.policies:
            if isinstance(policy, AdmissionObserver):
                rejection = policy.dispatching(job, waited_s, now)
                if rejection is not None:
                    return rejection
        return None

    def settled(self, tenant: str, difference: float) -> None:
        """See `interfaces.AdmissionObserver`."""
        for policy in self.policies:
            if isinstance(policy, AdmissionObserver):
                policy.settled(tenant, difference)
