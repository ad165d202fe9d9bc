"""Recorded loads for live runs: a trace of any known format, dealt to tenants.

The trace is read as for a simulation. `max_tokens` is one constant for all jobs, so that no policy
can read the true length of an answer from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from parallax.sim.timed import Timed
from parallax.sim.traces import catalog


def recorded(
    path: Path,
    limit: int | None = None,
    tenants: Sequence[str] = (),
    prefix: str = "",
    form: str = "",
) -> Iterator[Timed]:
    """Return (seconds from the start, job) in order of time.

    Jobs are dealt to `tenants` in turn; without any they keep those that the trace names. Raises
    InvalidInput naming file, line and column, before the first job is given away.
    """
    jobs = catalog.read(path, form, limit, prefix=prefix)
    return catalog.dealt(jobs, tenants) if tenants else jobs
