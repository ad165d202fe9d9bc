"""Names the whole blocks with which a prompt begins.

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


def salted(tenant: str, names: Sequence[int]) -> tuple[int, ...]:
    """Return the names that a tenant's blocks have in caches that it shares with other tenants.

    An answer's `cached_tokens` and its time tell which prompts are cached. With names of its
    own a tenant learns so of what it has sent itself, and of nothing else. The same names of one
    tenant stay the same; two of different tenants agree with a probability of 2**-63, and since the
    hash goes one way, nobody can choose a name that becomes another's. O(names), about 1 us each.
    """
    keyed = hashlib.blake2b(digest_size=8, key=_digest(tenant))
    found = []
    for name in names:
        one = keyed.copy()
        one.update(name.to_bytes(8, "big"))
        found.append(int.from_bytes(one.digest(), "big") >> 1)
    return tuple(found)


@lru_cache(maxsize=4_096)
def _digest(tenant: str) -> bytes:
    return hashlib.blake2b(tenant.encode(), digest_size=32).digest()


@lru_cache(maxsize=65_536)
def _start(session: str) -> int:
    digest = hashlib.blake2b(session.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
