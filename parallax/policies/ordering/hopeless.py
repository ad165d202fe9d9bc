"""When a job cannot meet its deadline any more, whatever is done for it."""

from __future__ import annotations

from math import inf

from parallax.core.model import JobView


def too_late(job: JobView, service_s: float, now: float) -> bool:
    """Whether even service that starts now, on an idle worker, ends after the deadline.

    Serving such a job wastes capacity that others could use in time: deadline order without this
    drop collapses as soon as load exceeds capacity (Locke 1986).
    """
    return job.deadline != inf and now + service_s > job.deadline
