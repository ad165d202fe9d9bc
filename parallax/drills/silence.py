"""How long a tenant waits without a word while others are served: what starvation looks like."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from parallax.broker.store.results import Record

#: Of a time in which no job of any tenant ends, so much counts as silence to a tenant (seconds).
STILL_S = 5.0


def longest_silence_s(records: Mapping[str, Record | None]) -> float:
    """Return how long a tenant with open jobs heard of no end, at most. O(n log n).

    While nobody at all hears of an end, no tenant is put behind others: of such a time at most
    `STILL_S` count. That the cell goes on is for the promises to say that jobs end.
    """
    ended = [record for record in records.values() if record is not None and record.finished]
    ends = sorted(record.finished or 0.0 for record in ended)
    counted = [0.0, *accumulate(min(STILL_S, after - end) for end, after in pairwise(ends))]

    def seconds(at: float) -> float:
        """Return the seconds until then that count."""
        n = max(0, bisect_right(ends, at) - 1)
        return counted[n] + max(-STILL_S, min(STILL_S, at - ends[n]))

    moments: dict[str, list[tuple[float, int]]] = {}
    for record in ended:
        own = moments.setdefault(record.tenant, [])
        own += [(seconds(record.accepted), 1), (seconds(record.finished or 0.0), -1)]
    return max((_silence_s(sorted(own)) for own in moments.values()), default=0.0)


def _silence_s(moments: Sequence[tuple[float, int]]) -> float:
    longest, waiting, since = 0.0, 0, 0.0
    for at, step in moments:
        if waiting and step < 0:
            longest = max(longest, at - since)
        if step < 0 or not waiting:
            since = at
        waiting += step
    return longest
