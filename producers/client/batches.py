"""How much of a long list goes to Redis in one call.

Redis does one thing at a time: while it takes a batch of jobs, workers and the leader wait. A call
is therefore bounded in jobs (each costs some 20 us there) and in bytes (about 1.5 ms a megabyte).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from parallax.core.model import Job

#: Most jobs, and about so many bytes, in one call; a job that is larger goes alone.
MOST_JOBS, MOST_BYTES = 250, 1 << 20

#: About what a job comes to without its body and prefix, and a hash of the prefix (bytes).
_JOB, _HASH = 300, 20


def batches(jobs: Sequence[Job], bodies: Mapping[str, bytes]) -> Iterator[Sequence[Job]]:
    """Yield the jobs, in their order, in parts that are small enough."""
    start = held = 0
    for place, job in enumerate(jobs):
        size = _JOB + _HASH * len(job.prefix) + len(bodies.get(job.id, b""))
        if place > start and (place - start >= MOST_JOBS or held + size > MOST_BYTES):
            yield jobs[start:place]
            start, held = place, 0
        held += size
    if start < len(jobs):
        yield jobs[start:]
