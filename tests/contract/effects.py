"""What a script call changed in the store, in words that are the same each time.

Ids of entries and times are replaced by what they are; everything else is kept: keys and their
types, whether they have a time to live, entries, fields, members.
"""

from __future__ import annotations

import re
from typing import Any

from parallax.broker.link.connection import Link

Store = dict[str, dict[str, list[str]]]
_ENTRY, _TIME = re.compile(r"\d{13}-\d+"), re.compile(r"(?<![\w.])\d{13}(?!\d)")
_TOKEN = re.compile(r"(?:\b[0-9a-f]{8}-)?(\w+)\|\d{13,}")  # who leads, with a part drawn by lot
_WORD = re.compile(r"<\w+\.\w+: ('\w*')>")  # how Python shows a word of an enum
_WAITED = re.compile(r"waited_s=[\d.e-]+")


def stored(link: Link) -> Store:
    """Return all that is stored: for each key "type, and whether it will go" -> its content."""
    keys = sorted(key.decode() for key in link.call("KEYS", "*"))
    found: Store = {}
    for key in keys:
        kind = link.call("TYPE", key).decode()
        content = _content(link, key, kind)
        if content:  # some servers keep empty streams, others do not
            lasting = "for ever" if link.call("PTTL", key) == -1 else "for a while"
            found[key] = {f"{kind}, {lasting}": content}
    return found


def difference(before: Store, after: Store) -> dict[str, list[str]]:
    """Return what was added (+) and taken away (-), key by key; nothing if nothing changed."""
    told: dict[str, list[str]] = {}
    for key in sorted(before.keys() | after.keys()):
        old, new = _flat(before.get(key, {})), _flat(after.get(key, {}))
        gone, come = _minus(old, new), _minus(new, old)
        if gone or come:
            told[key] = [f"- {line}" for line in gone] + [f"+ {line}" for line in come]
    return told


def told(answer: Any) -> str:
    """Return what was answered, without the ids and times in it."""
    shown = _WORD.sub(r"\1", repr(answer))
    return _WAITED.sub("waited_s=S", _word(shown.encode()))


def _content(link: Link, key: str, kind: str) -> list[str]:
    if kind == "stream":
        entries = link.call("XRANGE", key, "-", "+")
        return [" ".join(_word(field) for field in fields) for _, fields in entries]
    if kind == "hash":
        flat = iter(link.call("HGETALL", key))
        return sorted(f"{_word(k)} = {_word(v)}" for k, v in zip(flat, flat, strict=True))
    if kind == "zset":
        flat = iter(link.call("ZRANGE", key, 0, -1, "WITHSCORES"))
        pairs = zip(flat, flat, strict=True)
        return sorted(f"{_word(name)} at {_word(b'%d' % int(float(at)))}" for name, at in pairs)
    if kind == "set":
        return sorted(_word(name) for name in link.call("SMEMBERS", key))
    return [_word(link.call("GET", key))]


def _word(data: bytes) -> str:
    text = data.decode("utf-8", "backslashreplace")
    return _TIME.sub("TIME", _ENTRY.sub("ENTRY", _TOKEN.sub(r"\1|EPOCH", text)))


def _flat(what: dict[str, list[str]]) -> list[str]:
    return [line for kind, content in what.items() for line in [kind, *content]]


def _minus(some: list[str], others: list[Any]) -> list[str]:
    left, found = list(others), []
    for line in some:
        if line in left:
            left.remove(line)
        else:
            found.append(line)
    return found
