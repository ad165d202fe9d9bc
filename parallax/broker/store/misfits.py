"""Finds foreign data in a cell: keys of a wrong type, and members that are no names.

Any writer to Redis can put a string where a stream must be. Every later command on that key
would fail, for every tenant, and a key that all tenants share would stop all of them. So it is
moved out of the way as an entry is that cannot be understood: a sample of it goes to the dead
letters, it is counted as malformed, and the command is sent again. The former stream is
gone by then, and the janitor finds the jobs that lay there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from parallax.broker.link.call import Call
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon
from parallax.broker.store.keys import Keys, kind_of
from parallax.broker.store.limits import Limits
from parallax.core.errors import StoreFault
from parallax.core.model import NAME
from parallax.core.words import SetAside, Unseated

if TYPE_CHECKING:
    from parallax.broker.store.dispatch import Entry

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")

log = logging.getLogger(__name__)

#: Keys, and members, that one call looks at.
_PAGE = 500


_SET_ASIDE, _UNSEATED = Lexicon(SetAside), Lexicon(Unseated)


class Does(Protocol):
    """The link that carries operations out."""

    def do(self, call: Call[R]) -> R:
        """Carry out an operation and return its decoded reply."""


def unseat_call(prefix: str, keys: Sequence[str]) -> Call[list[Unseated]]:
    """Build what deletes those of a cell's keys whose type is wrong; it says a word for each.

    Before them it looks at `dead` and `counts`, where it writes.
    """
    names = [f"{prefix}dead", f"{prefix}counts", *keys]
    args: list[Argument] = [Limits().log_entries, *(kind_of(key) or "" for key in keys)]
    return Call(script("unseat"), names, args, _UNSEATED.words)


def expel_call(keys: Keys, key: str, junk: Sequence[bytes]) -> Call[list[SetAside]]:
    """Build what takes members out of a set, a sorted set or a hash."""
    names = [key, keys.dead, keys.counts]
    return Call(script("expel"), names, [Limits().log_entries, *junk], _SET_ASIDE.words)


def quarantine_call(
    keys: Keys, limits: Limits, stream: str, junk: Sequence[tuple[Entry, str]]
) -> Call[int]:
    """Build what moves entries to the dead letters, each with why; it says how many were moved."""
    names = [stream, keys.dead, keys.counts]
    args: list[Argument] = [limits.log_entries, len(junk)]
    for entry, why in junk:
        args += (entry.id, why[:500], b" ".join(entry.fields)[:512])
    return Call(script("quarantine"), names, args, _moved)


def _moved(reply: Sequence[bytes]) -> int:
    return _SET_ASIDE.words(reply).count(SetAside.OK)


def keys_of(command: Sequence[Argument]) -> list[str]:
    """Return the keys that a command names; nothing for one that we never send."""
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in command[:1]]
    if words[0] in {"EVALSHA", "EVAL"}:
        return [str(key) for key in command[3 : 3 + int(command[2])]]
    if words[0] == "XREAD":
        streams = command[command.index("STREAMS") + 1 :]
        return [str(key) for key in streams[: len(streams) // 2]]
    return [str(key) for key in command[1:2]]


#: Carries out an operation as a part of a dialogue: see `parallax.broker.link.dialogue`.
Doing = Callable[[Call[list[Unseated]]], Generator[Y, S, list[Unseated]]]


def set_aside(do: Doing[Y, S], keys: Iterable[str]) -> Generator[Y, S, int]:
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
            removed += yield from _set_aside(do, prefix, own[start : start + _PAGE])
    return removed


def _set_aside(do: Doing[Y, S], prefix: str, keys: Sequence[str]) -> Generator[Y, S, int]:
    call = unseat_call(prefix, keys)
    try:
        words = yield from do(call)
    except StoreFault as error:
        log.warning("a key of a wrong type cannot be set aside: %s", error)
        return 0
    gone = [key for key, word in zip(call.keys, words, strict=True) if word is Unseated.REMOVED]
    if gone:
        log.warning("set aside %d keys of a wrong type: %s", len(gone), gone[0])
    return len(gone)


def names_of(members: Iterable[bytes]) -> tuple[list[str], list[bytes]]:
    """Split valid names of tenants, workers or jobs from values that cannot be any."""
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
    """Return a name as it was written; '' for bytes that are no name. O(length)."""
    try:
        name = member.decode("ascii")
    except UnicodeDecodeError:
        return ""
    return name if NAME.fullmatch(name) else ""


def expel(link: Does, keys: Keys, key: str, junk: Sequence[bytes]) -> int:
    """Take members out of a set, sorted set or hash; a dead letter each.

    Returns how many. Bounded to a page: the next look finds the rest.
    """
    if not junk:
        return 0
    gone = link.do(expel_call(keys, key, junk[:_PAGE])).count(SetAside.OK)
    if gone:
        log.warning("set aside %d members of %s that cannot be understood", gone, key)
    return gone
