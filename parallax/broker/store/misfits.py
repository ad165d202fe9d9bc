"""What lies where it does not belong: keys of a wrong type, and members that are no names.

Whoever can write to Redis can put a string where a stream must be. Every later command on that key
would fail, whoever it is for, and a key that all tenants share would stop all of them. So it is
moved out of the way as an entry is that cannot be understood: a sample of it goes to the dead
letters, it is counted as malformed, and the command is sent again. What was in its place before is
gone already, and the janitor finds the jobs that lay there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol, TypeVar

from parallax.broker.link.scripts import Argument, Script, script
from parallax.broker.store.keys import Keys, kind_of
from parallax.broker.store.limits import Limits
from parallax.core.errors import StoreFault
from parallax.core.model import NAME

Y = TypeVar("Y")
S = TypeVar("S")

log = logging.getLogger(__name__)

#: Keys, and members, that one call looks at.
_PAGE = 500


class Runs(Protocol):
    """What runs scripts: a link."""

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> list[bytes]:
        """Run a script and return its flat reply."""


def keys_of(command: Sequence[Argument]) -> list[str]:
    """Return the keys that a command names; nothing for one that we never send."""
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in command[:1]]
    if words[0] in {"EVALSHA", "EVAL"}:
        return [str(key) for key in command[3 : 3 + int(command[2])]]
    if words[0] == "XREAD":
        streams = command[command.index("STREAMS") + 1 :]
        return [str(key) for key in streams[: len(streams) // 2]]
    return [str(key) for key in command[1:2]]


#: Runs a script as a part of a dialogue with the server: see `parallax.broker.link.dialogue`.
Running = Callable[[Script, Sequence[str], Sequence[Argument]], Generator[Y, S, list[bytes]]]


def set_aside(run: Running[Y, S], keys: Iterable[str]) -> Generator[Y, S, int]:
    """Delete those of these keys whose type is wrong, with a dead letter each; return how many.

    Only keys of cells are touched. A user that may not do it leaves them as they are.
    """
    named: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        if kind_of(key) is not None:
            named.setdefault(key[: key.index("}:") + 2], []).append(key)
    removed = 0
    for prefix, own in named.items():
        for start in range(0, len(own), _PAGE):
            removed += yield from _set_aside(run, prefix, own[start : start + _PAGE])
    return removed


def _set_aside(run: Running[Y, S], prefix: str, keys: Sequence[str]) -> Generator[Y, S, int]:
    names = [f"{prefix}dead", f"{prefix}counts", *keys]
    args: list[Argument] = [Limits().log_entries, *(kind_of(key) or "" for key in keys)]
    try:
        answer = yield from run(script("unseat"), names, args)
    except StoreFault as error:
        log.warning("a key of a wrong type cannot be set aside: %s", error)
        return 0
    gone = [key for key, word in zip(names, answer, strict=True) if word == b"removed"]
    if gone:
        log.warning("set aside %d keys of a wrong type: %s", len(gone), gone[0])
    return len(gone)


def names_of(members: Iterable[bytes]) -> tuple[list[str], list[bytes]]:
    """Split what should be names of tenants, workers or jobs from what cannot be any."""
    names: list[str] = []
    junk: list[bytes] = []
    for member in members:
        name = name_of(member)
        if name:
            names.append(name)
        else:
            junk.append(member)
    return names, junk


def name_of(member: bytes) -> str:
    """Return a name as it was written; '' for what is no name, whatever its bytes. O(length)."""
    try:
        name = member.decode("ascii")
    except UnicodeDecodeError:
        return ""
    return name if NAME.fullmatch(name) else ""


def expel(link: Runs, keys: Keys, key: str, junk: Sequence[bytes]) -> int:
    """Take members out of a set, sorted set or hash; a dead letter each.

    Returns how many. Bounded: what is more than a page is found by the next look.
    """
    if not junk:
        return 0
    args: list[Argument] = [Limits().log_entries, *junk[:_PAGE]]
    gone = link.run(script("expel"), [key, keys.dead, keys.counts], args).count(b"ok")
    if gone:
        log.warning("set aside %d members of %s that cannot be understood", gone, key)
    return gone
