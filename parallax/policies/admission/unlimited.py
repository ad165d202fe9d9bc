"""Unlimited: let everything in. The door of the store still bounds each queue."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import JobView, QueueView, Rejection
from parallax.policies.registry import ADMISSION


@ADMISSION.register("unlimited")
@dataclass(slots=True)
class Unlimited:
    """Admit every job. For batch work without deadlines, where waiting is better than refusal."""

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        return None
