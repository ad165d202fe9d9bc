"""A job and when it arrives."""

from __future__ import annotations

from parallax.core.model import Job

#: Seconds from the start of the load, and the job.
Timed = tuple[float, Job]
