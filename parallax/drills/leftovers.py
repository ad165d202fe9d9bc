"""Every key in the store, held against the rules: which may be there, and which for ever.

The rules follow from `Keys`: what a cell has once may stay; what it has once for each job or worker
must go one day, and so has a time to live; streams of work are empty, and those of workers that are
gone are gone as well. A key that `Keys` does not name is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.drills.junk import families, single_keys

#: Kept once for each tenant or worker: they are empty, or their owner is there.
_STREAMS = frozenset({"in:", "work:"})
#: What must go with its job, or a while after it.
_NEEDLESS = {"body": "a body", "answer": "an answer"}
#: Of the single ones those that hold for a while only.
_LEASES = frozenset({"leader", "recording", "figures", "load", "scaler", "scaling"})


def left_over(link: Link, keys: Keys) -> dict[str, str]:
    """Return what lies in Redis that should be gone, or should go one day and will not."""
    return {key: wrong for key, wrong in _judged(link, keys) if wrong != UNEXPLAINED}


def unexplained(link: Link, keys: Keys) -> dict[str, str]:
    """Return the keys that no rule explains, in this cell or outside of it."""
    return {key: wrong for key, wrong in _judged(link, keys) if wrong == UNEXPLAINED}


UNEXPLAINED = "no rule explains it"


def _judged(link: Link, keys: Keys) -> Iterator[tuple[str, str]]:
    single = {key: name for name, key in single_keys(keys).items()}
    kinds = families(keys)
    members = {name.decode("utf-8", "replace") for name in link.call("HKEYS", keys.workers)}
    for key, type_, ttl_ms in _scan(link):
        kind, colon, name = key.removeprefix(keys.prefix).partition(":")
        for_ever = ttl_ms == -1
        if not key.startswith(keys.prefix) or (key not in single and kind + colon not in kinds):
            yield key, UNEXPLAINED
        elif key in single:
            if for_ever and single[key] in _LEASES:
                yield key, "it would hold for ever"
        elif kind + colon in _STREAMS and type_ == "stream":
            yield from _stream(link, key, kind == "work" and name not in members)
        elif for_ever:
            what = _NEEDLESS.get(kind)
            yield key, f"{what} that nobody needs" if what else "it would stay for ever"


def _stream(link: Link, key: str, stray: bool) -> Iterator[tuple[str, str]]:
    length = link.call("XLEN", key)
    if length:
        yield key, f"{length} entries"
    elif stray:
        yield key, "the stream of a worker that is gone"


def _scan(link: Link) -> Iterator[tuple[str, str, int]]:
    """Yield every key of the database with its type and its time to live in ms (-1: none)."""
    cursor = "0"
    while True:
        after, page = link.call("SCAN", cursor, "COUNT", 1000)
        asked = [command for key in page for command in (("TYPE", key), ("PTTL", key))]
        answers = link.calls(asked) if asked else ()
        for n, key in enumerate(page):
            type_, ttl_ms = answers[2 * n], answers[2 * n + 1]
            yield key.decode("utf-8", "replace"), type_.decode(), ttl_ms
        cursor = after.decode()
        if cursor == "0":
            return
