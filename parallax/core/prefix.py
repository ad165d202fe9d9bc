"""What a prompt begins with, as names of whole blocks.

Names are chained: equal names at some place mean equal content up to there. A job that brings no
names but belongs to a session is taken to extend what its session has said so far, so its blocks
get names made of the session and their place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from parallax.core.model import MAX_PREFIX, JobView


def conversation(session: str, count: int) -> range:
    """Return the names of the first `count` blocks of a session: the same for every turn.

    They are consecutive numbers from a 63-bit hash of the session: two sessions of at most 2**14
    blocks collide with a probability below 2**-48. O(1).
    """
    start = _start(session)
    return range(start, start + min(count, MAX_PREFIX))


def blocks_of(job: JobView) -> Sequence[int]:
    """Return the names of the blocks a job's prompt begins with; none if nothing is known."""
    if job.prefix:
        return job.prefix
    if job.session:
        return conversation(f"{job.tenant}/{job.session}", job.prompt_tokens // job.prefix_block)
    return ()


@lru_cache(maxsize=65_536)
def _start(session: str) -> int:
    digest = hashlib.blake2b(session.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
